"""The controls of what is analysed: model, weights, images, and the machine's part in it."""

from __future__ import annotations

from importlib.util import find_spec

import streamlit as st

from analysis.datasets import DATASETS, SHIFTS, dataset_spec, needs_look, own_datasets
from analysis.errors import OptionError
from analysis.models import (
    MODELS,
    ModelSpec,
    model_problem,
    model_spec,
    own_checkpoints,
    side_of_input,
    weights_choices,
)
from analysis.options import (
    DEVICES,
    MIN_SAMPLES,
    PRECISIONS,
    AnalysisOptions,
    Device,
    Precision,
    Preset,
)
from app.components.shared.help_texts import bullet_list
from app.components.shared.links import drop_from_link
from app.components.shared.option_inputs import help_of, number_settings
from app.components.shared.subject_names import dataset_name, weights_name
from app.components.sidebar.own_files import render_look, render_own_checkpoint, render_own_images
from app.literal import code, literal, sentence
from app.state import session

_DEFAULT = AnalysisOptions()
TIMM = find_spec("timm") is not None


def render_subject(preset: Preset) -> AnalysisOptions | None:
    """Draw the controls.

    Returns
    -------
    AnalysisOptions or None
        None, with a message on the page, if what they say cannot be.
    """
    try:
        model, weights = _render_model()
        dataset, shift, severity = _render_dataset()
        if needs_look(dataset):
            render_look(dataset)
            return None
        samples, seed = _render_images(dataset, preset)
        batch_size, subsets = _render_subsets(preset, samples)
    except OptionError as error:
        st.error(sentence(error))
        session().uploads.drop_folders()
        return None
    with st.expander("Precision and device"):
        side, resize, mean, std = _render_input(model, weights)
        precision, device, memory = _render_machine()
    try:
        return AnalysisOptions(
            model=model,
            dataset=dataset,
            weights=weights,
            shift=shift,
            severity=severity,
            samples=samples,
            batch_size=batch_size,
            seed=seed,
            pooling=preset.pooling,
            subsets=subsets,
            input_side=side,
            input_resize=resize,
            input_mean=mean,
            input_std=std,
            precision=precision,
            device=device,
            memory=memory,
        )
    except OptionError as error:
        st.error(sentence(error))
        return None


def _render_model() -> tuple[str, str]:
    linked = st.query_params.get("model")  # a list that takes new options would take any
    if linked and "model" not in st.session_state and _known(linked) is None:
        drop_from_link("model")
    spec = _known(st.session_state.get("model") or _DEFAULT.model)
    chosen = st.selectbox(
        "Model",
        list(MODELS),
        key="model",
        bind="query-params",
        help=help_of(
            AnalysisOptions,
            "model",
            "Type to search. Pocket models come with BettiScope and work offline. The others are "
            "torchvision's classifiers, with those of the paper first.",
        )
        + (" For a timm model, type timm/ and its name." if TIMM else "")
        + (f"\n\n**{spec.title}**: {spec.description}" if spec else ""),
        accept_new_options=TIMM,
        on_change=_complete_model,
    )
    model = chosen or _DEFAULT.model
    spec = _known(model)
    if spec is None:
        raise OptionError(f"There is no model {model[:80]!r}: choose one from the list.")
    weights = st.selectbox(
        "Weights",
        [*weights_choices(model), *own_checkpoints(model)],
        key="weights",
        bind="query-params",
        format_func=weights_name,
        help=help_of(
            AnalysisOptions,
            "weights",
            f"pretrained: trained on {spec.trained_on}. random: not trained, to compare with. "
            "Full-size weights are downloaded once and kept.",
        ),
    )
    render_own_checkpoint(model, weights)
    return model, weights


def _complete_model() -> None:
    st.session_state["model"] = completed(st.session_state.get("model") or _DEFAULT.model)


def completed(typed: str) -> str:
    """The name itself if it is a known model, otherwise the first listed name that contains it."""
    if _known(typed) is not None:
        return typed
    return next((name for name in MODELS if typed.lower() in name), typed)


def _known(model: str) -> ModelSpec | None:
    """A model that a page may load: a name that is typed or in a link must not run code."""
    known = model in MODELS or (TIMM and model.startswith("timm/"))
    return model_spec(model) if known and not model_problem(model) else None


def _render_dataset() -> tuple[str, str, int]:
    uploads, offered = session().uploads, [*DATASETS, *own_datasets(), *session().uploads.folders]
    linked = st.query_params.get("dataset", "")  # as the list shows it
    opened = "dataset" not in st.session_state  # later the address may be behind
    if linked and opened and linked not in map(dataset_name, offered):
        uploads.missing_dataset = linked
    dataset = st.selectbox(
        "Dataset",
        offered,
        key="dataset",
        bind="query-params",
        format_func=dataset_name,
        help=help_of(AnalysisOptions, "dataset", "An analysis uses no labels.")
        + bullet_list({n: s.description for n, s in DATASETS.items()}),
        on_change=uploads.forget_missing,
    )
    if uploads.missing_dataset:
        st.warning(
            f"There is no dataset {code(uploads.missing_dataset[:80])} here. "
            f"Chosen: {literal(dataset_name(dataset))}."
        )
    render_own_images(dataset)
    shift = st.selectbox(
        "Shift",
        list(SHIFTS),
        key="shift",
        bind="query-params",
        help=help_of(AnalysisOptions, "shift")
        + bullet_list({n: s.help for n, s in SHIFTS.items()}),
    )
    severity = _DEFAULT.severity
    if shift != "none":
        severity = st.slider(
            "Severity",
            value=_DEFAULT.severity,
            key="severity",
            bind="query-params",
            **number_settings(AnalysisOptions, "severity"),
        )
    return dataset, shift, severity


def _render_images(dataset: str, preset: Preset) -> tuple[int, int]:
    most = dataset_spec(dataset).sizes["train"]
    least = preset.batch_size if preset.pooling == "per-batch" else MIN_SAMPLES
    uploads, shown = session().uploads, st.session_state.get("samples")
    if shown is not None:
        if shown != uploads.reduced_images:  # another number was typed, which replaces the first
            uploads.reduced_images = -1
        requested = shown if uploads.reduced_images < 0 else uploads.requested_images
        fits = max(least, min(requested, most))
        if fits != shown:
            uploads.requested_images, uploads.reduced_images = requested, fits
            st.session_state["samples"] = fits
    left, right = st.columns(2)
    samples = left.number_input(
        "Images",
        least,
        None,  # what is too many is told below; a browser would refuse it without a word
        min(preset.samples, max(least, most)),  # the link leaves out what its preset sets
        preset.batch_size,
        key="samples",
        bind="query-params",
        help=help_of(
            AnalysisOptions,
            "samples",
            f"{_usual_images(preset)} {literal(dataset_name(dataset))} has {most:,} images for "
            "this; validation and test images are not used.",
        ),
    )
    seed = right.number_input(
        "Seed",
        value=_DEFAULT.seed,
        key="seed",
        bind="query-params",
        **number_settings(AnalysisOptions, "seed"),
    )
    if samples > max(least, most):  # a link's, which is known only now
        st.rerun()
    if samples == uploads.reduced_images:
        st.caption(
            f"{literal(dataset_name(dataset))} has {most:,} images to draw from; "
            f"{uploads.requested_images:,} were asked for."
        )
    return int(samples), int(seed)


def _usual_images(preset: Preset) -> str:
    if preset.pooling == "subsets":
        return f"This preset uses {preset.samples}."
    return f"This preset uses {preset.batches} batches of {preset.batch_size}."


def _render_subsets(preset: Preset, samples: int) -> tuple[int, int]:
    """Images in each cloud, and how many random subsets there are, if the preset has them."""
    if preset.pooling != "subsets":
        return preset.batch_size, preset.subsets
    left, right = st.columns(2)
    subsets = left.number_input(
        "Subsets",
        value=preset.subsets,
        key="subsets",
        bind="query-params",
        **number_settings(AnalysisOptions, "subsets"),
    )
    size = right.number_input(
        "Images in each",
        MIN_SAMPLES,
        None,
        preset.batch_size,
        key="batch_size",
        bind="query-params",
        help=help_of(AnalysisOptions, "batch_size"),
    )
    if size >= samples:
        st.caption("One subset holds all images, so nothing shows how sure the choice is.")
    return int(size), int(subsets)


def _render_input(model: str, weights: str) -> tuple[int, int, str, str]:
    # What timm's models ask for is known only when they are built.
    own = side_of_input(model, weights=weights) if model_spec(model).input_side else 0
    here = f"Here that is {own} × {own}." if own else ""
    side = st.number_input(
        "Image side",
        value=_DEFAULT.input_side,
        key="input_side",
        bind="query-params",
        **number_settings(
            AnalysisOptions,
            "input_side",
            f"{here} Smaller images need less time and memory, and change the results. Some models "
            "accept one size only.".strip(),
        ),
    )
    resize = st.number_input(
        "Resized to",
        value=_DEFAULT.input_resize,
        key="input_resize",
        bind="query-params",
        **number_settings(AnalysisOptions, "input_resize"),
    )
    mean, std = (
        column.text_input(
            label,
            key=name,
            bind="query-params",
            placeholder="default",
            help=help_of(AnalysisOptions, name),
        )
        for column, label, name in zip(
            st.columns(2), ("Mean", "Deviation"), ("input_mean", "input_std"), strict=True
        )
    )
    return int(side), int(resize), mean or "", std or ""


def _render_machine() -> tuple[Precision, Device, int]:
    precision = st.selectbox(
        "Precision of the activations",
        PRECISIONS,
        key="precision",
        bind="query-params",
        help=help_of(
            AnalysisOptions,
            "precision",
            "Distances between images are still computed in float32 or better.",
        ),
    )
    device = st.selectbox(
        "Device",
        DEVICES,
        key="device",
        bind="query-params",
        help=help_of(AnalysisOptions, "device"),
    )
    memory = st.number_input(
        "Memory limit",
        value=_DEFAULT.memory / 1e9,
        key="memory",
        bind="query-params",
        **number_settings(
            AnalysisOptions,
            "memory",
            "With less memory the analysis is slower, with the same result.",
            scale=1e9,
        ),
    )
    return precision, device, round(1e9 * memory)
