#!/usr/bin/env bash
# A researcher's day with mimflow, from a folder of images to a model in a notebook, and everything on the way:
#
#     bash docs/tour.sh FOLDER
#
# does it all in a folder that is not there yet, in a few minutes on two cores. Lines with #: are text, others are
# commands: `python docs/tour.py` runs them and writes docs/starting.md and docs/tour.md, text and what they print.
set -euo pipefail
mkdir "$1"
cd "$1"

cat > pictures.py <<'END'
"""Cut photographs that come with scikit-image into a folder of images, a folder in it for each class."""
from pathlib import Path

from PIL import Image
from skimage import data

for name in ("astronaut", "chelsea", "coffee", "rocket"):
    folder = Path("pictures", name)
    folder.mkdir(parents=True)
    photograph = Image.fromarray(getattr(data, name)())
    for left in range(0, photograph.width - 63, 64):
        for top in range(0, photograph.height - 63, 64):
            photograph.crop((left, top, left + 64, top + 64)).save(folder / f"{left:03}-{top:03}.png")
END
python pictures.py

#= starting.md
#: # Starting: a folder of images, two systems, a table
#:
#: A folder with a folder for each class is all that is needed: PNG, JPEG, WebP, BMP or TIFF. Here it is `pictures`, crops of four photographs. mimflow is installed (`pip install -c constraints.txt -e .` in a clone, or a wheel). A project of one's own is a folder:
mimflow init mine
cd mine

#: It holds a Snakefile, profiles, `dvc.yaml` and the specs of an example. `new project` writes all from the images to a table: the data set, a classifier to measure with, a protocol, TARFlow, MIMFlow, the table. `--epochs 2` is to see it all work; without it both are trained as long as the runs that they extend. `data lock` pins which files these are: other files are other results.
mimflow new project photos --images ../pictures --size 16 --epochs 2
mimflow data lock photos

#: What would run, and what it comes to:
mimflow plan photos

#: Everything: prepare, train, sample, measure, render; a table, and a page for each run. Stopped with Ctrl-C it goes on where it was; called again it does what is missing.
snakemake --cores all results/photos.md results/runs/photos-tarflow.md

#: Two epochs teach little, and the table says so. Beside it lie `photos.tex`, `photos.csv` and a picture of samples; the page of the run is `results/runs/photos-tarflow.md`.
cat results/photos.md

#: A figure of how they were trained:
mimflow curves photos-tarflow photos-mimflow

#: The model in Python, here or in a notebook (`examples/` has some, as scripts and as notebooks):
cat > look.py <<'END'
import mimflow

system = mimflow.load("photos-mimflow")
print(system)
samples = system.sample([0, 1, 2, 3], guidance=1.0)
print("samples", samples.shape, samples.dtype)
images, labels = mimflow.images("photos", "val")
print("nats an image", system.log_prob(images[:4], labels[:4]).shape)
print(mimflow.results("photos")[["row", "output", "metric", "n", "count"]].to_string(index=False))
END
python look.py

#: That is the whole path. The specs in `specs/` say in comments what each line does; change one, and exactly what depends on it runs again. [The tour](tour.md) goes on from here.

#= tour.md
#: # A tour
#:
#: It goes on where [Starting](starting.md) ended, in the same project, and shows what a day with mimflow needs. `docs/tour.sh` is all of it, to be run; what is printed below it has printed. Times and digests are masked, and of Snakemake's own words only … is left.
#:
#: ## What is there
#:
#: What is done, stale, running, failed, interrupted or missing:
mimflow ls
mimflow ls runs
mimflow status

#: `plan` takes a run, an ablation, a product, a data set or a path, and says why in words. With `--paths` it prints what Snakemake can be asked for.
sed -i 's/guided.class_accuracy/guided.precision/' specs/tables/photos.yaml
mimflow plan results/photos.md
mimflow plan photos-tarflow --paths

#: What only a run reaches can be removed, first dry:
mimflow rm photos-mimflow

#: ## A run is a target
#:
#: `snakemake --cores all results/runs/RUN.md` trains a run, samples, measures it under its data set's protocol, and writes a page: numbers, pictures, curves, health, spec with origins, provenance.
sed -n 1,40p results/runs/photos-tarflow.md

#: ## Watching
#:
#: Jobs say how far they are; `mimflow status --watch` shows what runs, wherever it was started. Logs grow while training, and `curves` draws them, finished and running:
mimflow curves photos-mimflow --phase joint --over epoch

#: ## Python
#:
#: A trained system, the images of a data set, the numbers of a table, other people's samples, a spec:
cat > day.py <<'END'
import mimflow

system = mimflow.load("photos-tarflow")
images, labels = mimflow.images("photos", "val")
latents = system.encode(images)
print("latents", tuple(latents.shape))
print("back again", (system.pixels(system.decode(latents)) == images).mean())
print("outputs", ", ".join(system.outputs))
drawn = system.sample([0] * 8, output="guided")
print("drawn one at a time", (system.sample([0], output="guided", first=5) == drawn[5]).all())
spec = mimflow.compose("photos-tarflow", {"prior.width": 64})
print("width", spec.prior.width)
again = mimflow.load("results/by-name/checkpoints/photos-tarflow.main.s0")
print("of a folder", again)
END
python day.py

#: ## Starting something new
#:
#: An override makes a run with a name, which is a spec like any other: nothing changes without a trace. This one is on digits, from the example that came with the project. Each stage is a command, too, that does one job of those that `plan` lists.
mimflow plan tarflow -s phases.main.epochs=2
cat specs/mini/tarflow-epochs-2.yaml
mimflow diff tarflow tarflow-epochs-2
mimflow prepare digits
mimflow train tarflow-epochs-2.main.s0

#: `mimflow new` writes commented specs that validate: dataset, classifier, protocol, run, ablation, table, figure, claim, or project for all.
mimflow new ablation step-size --run photos-tarflow
cat specs/ablations/step-size.yaml
mimflow new run wide --dataset photos --like photos-tarflow
mimflow new figure two --run photos-tarflow --run photos-mimflow --protocol photos-1k
mimflow new claim masks-help --run photos-mimflow --run photos-tarflow --protocol photos-1k
mimflow validate
mimflow plan step-size

#: ## DVC
#:
#: `dvc.yaml` is written from the products that say `by_default: true`: here the example's table goes, and only the own one is versioned. `dvc repro` runs the same DAG.
rm specs/tables/first.yaml
mimflow dvc
git init -q && dvc init -q && git add -A && git commit -qm "A table of photographs"
dvc repro
dvc metrics show
git status --short

#: ## Reproducing
#:
#: From a number to what it was made by:
mimflow why photos --row TARFlow --column guided.fid

#: A reviewer's check is one command: a row, or all, is made again from its record in a scratch folder, and compared number by number.
mimflow reproduce results/photos.md --row photos-tarflow 2>/dev/null

#: ## Help
#:
#: A mistake is a line, with its place and what would be right:
sed -i 's/epochs: 2/epoch: 2/' specs/mini/photos-tarflow.yaml
mimflow validate || echo "exit code $?"
sed -i 's/epoch: 2/epochs: 2/' specs/mini/photos-tarflow.yaml

#: Commands show examples, the project is found from a folder below, and the shell completes names (`mimflow --install-completion`):
mimflow --version
mimflow plan --help
cd specs/mini
mimflow explain tarflow-epochs-2
cd ../..
