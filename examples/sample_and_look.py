# %% [markdown]
# # Sample and look
#
# Samples of a trained run, with and without guidance, beside real images and what the tokenizer keeps of them. Run it
# in a project's folder, once the run is trained: `snakemake --cores all results/runs/tarflow-mnist5k.md`.

# %%
import matplotlib.pyplot as plt
import numpy as np

import mimflow

RUN = "tarflow-mnist5k"
DATASET = "mnist5k"
EACH = 8  # images of each class

system = mimflow.load(RUN)
print(system)
print("outputs:", ", ".join(system.outputs))

# %% [markdown]
# Image *i* is drawn from the run's seed and its number *i*: the same whatever is drawn beside it, here and in tables.

# %%
classes = np.repeat(np.arange(system.shapes.num_classes), EACH)
drawn = {
    "without guidance": system.sample(classes),
    "weight 1": system.sample(classes, guidance=1.0),
    "weight 3": system.sample(classes, guidance=3.0),
}

# %% [markdown]
# Real images of the same classes, and the same through the tokenizer and back.

# %%
images, labels = mimflow.images(DATASET, "val")
real = np.concatenate([images[labels == label][:EACH] for label in range(system.shapes.num_classes)])
kept = system.pixels(system.decode(system.encode(real)))


# %%
def sheet(pictures: np.ndarray) -> np.ndarray:
    """Pictures (N, H, W, C) as one, a class a row."""
    _, height, width, channels = pictures.shape
    rows = pictures.reshape(-1, EACH, height, width, channels)
    return rows.swapaxes(1, 2).reshape(len(rows) * height, EACH * width, channels)


shown = {"real": real, "through the tokenizer": kept, **drawn}
figure, axes = plt.subplots(1, len(shown), figsize=(3 * len(shown), 4), layout="constrained")
for place, (title, pictures) in zip(axes, shown.items(), strict=True):
    place.imshow(sheet(pictures), cmap="gray")
    place.set_title(title)
    place.set_axis_off()
figure.savefig("samples.png", dpi=150)
