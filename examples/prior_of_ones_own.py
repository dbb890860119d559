# %% [markdown]
# # A prior of one's own
#
# A trained tokenizer turns images into latents and back; anything that models latents is a prior. Here a mixture of
# Gaussians of scikit-learn's takes the place of the flow, and is compared with it. A prior that specs can name, trained
# by mimflow and in its tables, is a folder and a line: docs/extending.md. Run this in a project's folder, once the run
# is trained: `snakemake --cores all results/runs/mimflow-mnist5k.md`.

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.mixture import GaussianMixture

import mimflow

RUN = "mimflow-mnist5k"
DATASET = "mnist5k"
COMPONENTS = 20

system = mimflow.load(RUN)
train, _ = mimflow.images(DATASET, "train")
val, _ = mimflow.images(DATASET, "val")

# %% [markdown]
# `encode` gives latents (N, tokens, channels); the mixture takes them as long vectors.

# %%
latents = system.encode(train)
shape = latents.shape[1:]
mixture = GaussianMixture(COMPONENTS, covariance_type="diag", reg_covar=1e-3, random_state=0)
mixture.fit(latents.flatten(1).numpy())

# %% [markdown]
# Both are densities of the same latents, so their log-likelihoods of validation images can be compared.

# %%
flow = system.log_prob(val).numpy()
ours = mixture.score_samples(system.encode(val).flatten(1).numpy())
print(f"nats an image: flow {flow.mean():.1f}, mixture of {COMPONENTS} {ours.mean():.1f}")

# %%
drawn, _ = mixture.sample(16)
drawn = drawn[np.random.default_rng(0).permutation(len(drawn))]  # they come a component after the other
pictures = system.pixels(system.decode(torch.from_numpy(drawn).float().unflatten(1, shape)))

figure, axes = plt.subplots(2, 8, figsize=(8, 2.4), layout="constrained")
for place, picture in zip(axes.flat, pictures, strict=True):
    place.imshow(picture, cmap="gray")
    place.set_axis_off()
figure.savefig("mixture.png", dpi=150)
