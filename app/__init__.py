"""The Streamlit dashboard: it draws what `analysis` computes, and computes nothing itself."""
