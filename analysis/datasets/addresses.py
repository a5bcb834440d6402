"""Addresses of datasets that torchvision does not have: our reader and our downloads need them."""

from __future__ import annotations

STANFORD = "http://vision.stanford.edu/aditya86/ImageNetDogs"
CUB = "https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz"
