# %% [markdown]
# # Likelihoods of images of one's own
#
# How likely a trained flow finds the images of a folder, of which class it takes them to be, and which are odd. Run it
# in a project's folder, once the run is trained: `snakemake --cores all results/runs/tarflow-mnist5k.md`.

# %%
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image, ImageOps

import mimflow

RUN = "tarflow-mnist5k"
DATASET = "mnist5k"
FOLDER = Path("my-images")  # yours; where there is none, the example puts some images into it

if not FOLDER.is_dir():
    FOLDER.mkdir()
    some, _ = mimflow.images(DATASET, "val")
    for number in range(12):
        Image.fromarray(some[number].squeeze()).save(FOLDER / f"{number:02}.png")
    Image.fromarray(255 - some[0].squeeze()).save(FOLDER / "inverted.png")
    Image.fromarray(some[1].squeeze()[::-1]).save(FOLDER / "upside-down.png")

# %% [markdown]
# Images become what the run was trained on: as many pixels, as many channels.

# %%
system = mimflow.load(RUN)
side, mode = system.shapes.size, "L" if system.shapes.channels == 1 else "RGB"
files = sorted(FOLDER.glob("*.png"))
pictures = [ImageOps.fit(Image.open(file).convert(mode), (side, side)) for file in files]
images = np.stack([np.asarray(picture).reshape(side, side, -1) for picture in pictures])

# %% [markdown]
# `log_prob` is a density of latents in nats, here of pixels in [−1, 1], for a class that is given or for none. A pixel
# has 256 values, 1/127.5 apart, so a density p of D numbers comes to log₂ 127.5 − log₂ p / D bits for each of them.

# %%
of_class = np.stack(
    [system.log_prob(images, [label] * len(images)).numpy() for label in range(system.shapes.num_classes)], axis=1
)
dimensions = images[0].size
bits = np.log2(127.5) - system.log_prob(images).numpy() / np.log(2) / dimensions

order = np.argsort(bits)
for index in order:
    print(f"{files[index].name:16}  {bits[index]:7.3f} bits a dimension, likeliest class {of_class[index].argmax()}")

# %%
figure, axes = plt.subplots(1, len(files), figsize=(len(files), 1.6), layout="constrained")
for place, index in zip(axes, order, strict=True):
    place.imshow(images[index], cmap="gray")
    place.set_title(f"{bits[index]:.2f}")
    place.set_axis_off()
figure.savefig("likelihoods.png", dpi=150)
