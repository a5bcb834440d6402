"""Addresses of datasets that torchvision lacks, for our reader and our downloads."""

from __future__ import annotations

STANFORD = "http://vision.stanford.edu/aditya86/ImageNetDogs"
CUB = "https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz"
