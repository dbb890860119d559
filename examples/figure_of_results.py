# %% [markdown]
# # A figure of one's own
#
# The numbers of a table as a data frame, and whatever pandas and matplotlib make of them. Run it in a project's folder,
# once the table is made: `snakemake --cores all results/table1.md`.

# %%
import matplotlib.pyplot as plt

import mimflow

TABLE = "table1"

frame = mimflow.results(TABLE)
print(frame[["row", "output", "metric", "value", "std", "n", "count", "protocol"]].to_string())

# %% [markdown]
# Each number knows its run, output and metric, the seeds (`n`) that `std` is the spread of, the images that were
# measured (`count`), the protocol, and the jobs (`key`) that it comes from: `mimflow why table1` follows them.

# %%
of_samples = frame[(frame["metric"] == "fid") & frame["output"].isin(["unguided", "guided"])]
fid = of_samples.pivot(index="row", columns="output", values="value")
spread = of_samples.pivot(index="row", columns="output", values="std")

figure, axes = plt.subplots(figsize=(5, 3), layout="constrained")
fid.plot.bar(ax=axes, yerr=spread, rot=0, xlabel="", ylabel=f"FID ({of_samples['protocol'].iloc[0]})")
figure.savefig("fid.png", dpi=150)
figure.savefig("fid.pdf")
