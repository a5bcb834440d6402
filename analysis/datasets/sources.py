"""Where each downloadable dataset comes from: addresses, checksums, sizes."""

from __future__ import annotations

from pathlib import Path

from analysis.datasets.addresses import CUB, STANFORD
from analysis.datasets.fetching import Download, Remote
from analysis.datasets.torchvision_readers import (
    read_cifar10,
    read_cifar100,
    read_cub,
    read_dogs,
    read_fashion,
    read_flowers,
    read_pets,
)
from analysis.options import Split

_VGG = "https://www.robots.ox.ac.uk/~vgg/data"
_TORONTO = "https://www.cs.toronto.edu/~kriz"
_FASHION = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"
_DEBIAN = Path("/usr/share/datasets/fashion-mnist")  # from the package dataset-fashion-mnist


def _sizes(train: int, test: int, validation: int = 0) -> dict[Split, int]:
    """Without validation images, a fifth of the training images serve as such."""
    held = validation or round(train / 5)
    return {"train": train - (0 if validation else held), "validation": held, "test": test}


def _files(address: str, folder: str, *named: tuple[str, str]) -> tuple[Remote, ...]:
    return tuple(Remote(f"{address}/{name}", folder + name, checksum) for name, checksum in named)


def _fashion_file(name: str, md5: str, unpacked: str) -> Remote:
    return Remote(
        url=f"{_FASHION}/{name}.gz",
        to=f"FashionMNIST/raw/{name}.gz",
        checksum=f"md5:{md5}",
        local=_DEBIAN / f"{name}.gz",
        unpacked=unpacked,
    )


# Checksums: torchvision's own, which are the publishers'; for Stanford Dogs and CUB, those that
# TensorFlow Datasets recorded.
DOWNLOADS: dict[str, Download] = {
    download.name: download
    for download in (
        Download(
            name="pets",
            title="Oxford-IIIT Pets",
            files=_files(
                f"{_VGG}/pets/data",
                "oxford-iiit-pet/",
                ("images.tar.gz", "md5:5c4f3ee8e5d25df40f4fd59a7f44e54c"),
                ("annotations.tar.gz", "md5:95a8c909bbe2e81eed6a22bccdf3f68f"),
            ),
            read=read_pets,
            sizes=_sizes(3680, 3669),
        ),
        Download(
            name="flowers",
            title="Flowers-102",
            files=_files(
                f"{_VGG}/flowers/102",
                "flowers-102/",
                ("102flowers.tgz", "md5:52808999861908f626f3c1f4e79d11fa"),
                ("imagelabels.mat", "md5:e0620be6f572b9609742df49c70aed4d"),
                ("setid.mat", "md5:a5357ecc9cb78c4bef273ce3793fc85c"),
            ),
            read=read_flowers,
            sizes=_sizes(1020, 6149, validation=1020),
        ),
        Download(
            name="dogs",
            title="Stanford Dogs",
            files=_files(
                STANFORD,
                "stanford-dogs/",
                (
                    "images.tar",
                    "sha256:a443fc2f9a851aa1a7b8e4fa4af94b8459fce2c9f5a2f4dd4669cf9673a4ec58",
                ),
                (
                    "lists.tar",
                    "sha256:34b47cacd9a98b5d150e084f24d29391c084c55272295ec65c85651bc35f4d6c",
                ),
            ),
            read=read_dogs,
            sizes=_sizes(12_000, 8_580),
        ),
        Download(
            name="cub",
            title="CUB-200-2011",
            files=_files(
                CUB.rpartition("/")[0],
                "",
                (
                    "CUB_200_2011.tgz",
                    "sha256:0c685df5597a8b24909f6a7c9db6d11e008733779a671760afef78feb49bf081",
                ),
            ),
            read=read_cub,
            sizes=_sizes(5_994, 5_794),
        ),
        Download(
            name="cifar10",
            title="CIFAR-10",
            files=_files(
                _TORONTO, "", ("cifar-10-python.tar.gz", "md5:c58f30108f718f92721af3b95e74349a")
            ),
            read=read_cifar10,
            sizes=_sizes(50_000, 10_000),
        ),
        Download(
            name="cifar100",
            title="CIFAR-100",
            files=_files(
                _TORONTO, "", ("cifar-100-python.tar.gz", "md5:eb9058c3a382ffc7106e4002c42a8d85")
            ),
            read=read_cifar100,
            sizes=_sizes(50_000, 10_000),
        ),
        Download(
            name="fashion-mnist",
            title="Fashion-MNIST in full",
            files=(
                _fashion_file(
                    "train-images-idx3-ubyte",
                    "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
                    "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
                ),
                _fashion_file(
                    "train-labels-idx1-ubyte",
                    "25c81989df183df01b3e8a0aad5dffbe",
                    "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
                ),
                _fashion_file(
                    "t10k-images-idx3-ubyte",
                    "bef4ecab320f06d8554ea6380940ec79",
                    "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
                ),
                _fashion_file(
                    "t10k-labels-idx1-ubyte",
                    "bb300cfdad3c16e7a12a480ee83cd310",
                    "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
                ),
            ),
            read=read_fashion,
            sizes=_sizes(60_000, 10_000),
        ),
    )
}
