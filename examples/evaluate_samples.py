# %% [markdown]
# # An evaluation of other people's samples
#
# Samples that were made elsewhere, measured as a project's own are: an array, an `.npz` or a folder of images, and a
# protocol. On the command line it is `mimflow evaluate --samples FILE --protocol NAME`; a table has them as a row,
# `- samples: {file: FILE, sha256: …}`. Run it in a project's folder, once the protocol's classifier is trained:
# `snakemake --cores all results/runs/classifier-mnist5k.md`.

# %%
import numpy as np
import pandas
from skimage.filters import gaussian
from skimage.util import img_as_ubyte

import mimflow

PROTOCOL = "mnist5k-2k"
DATASET = "mnist5k"
CLASSES = 10
COUNT = 2000  # as many as the protocol measures

# %% [markdown]
# For want of other people, real images as they are and blurred: of each class as many, as the protocol asks.

# %%
images, labels = mimflow.images(DATASET, "train")
chosen = np.concatenate([np.flatnonzero(labels == label)[: COUNT // CLASSES] for label in range(CLASSES)])
real = images[chosen]
blurred = img_as_ubyte(gaussian(real, sigma=(0, 1, 1, 0)))

# %% [markdown]
# Where the protocol asks for classes they go beside the samples. What was measured once is not measured again.

# %%
measured = {
    name: mimflow.evaluate(samples, PROTOCOL, labels=labels[chosen])
    for name, samples in {"real": real, "blurred": blurred}.items()
}
frame = pandas.concat(measured, names=["samples"]).reset_index("samples")
print(frame.pivot(index="metric", columns="samples", values="value").to_string())
