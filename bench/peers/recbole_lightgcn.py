"""RecBole's own LightGCN trainer: `recbole_lightgcn.py DATA_FOLDER [--threads 2] [--epochs 3]`.

The peer of `galrec bench lightgcn`: K = 3, d = 64, batch 2048, Adam 1e-3, one uniform negative a positive, leave-one-out. Writes
RecBole's atomic files from sequences.txt into a temporary folder and times RecBole's training epochs (median of the timed ones;
the first warms up; evaluation is not timed). Needs recbole 1.2.1, torch, numpy, pandas, scipy, scikit-learn. RecBole 1.2.1 was
written for older libraries: what they have dropped since is put back here at run time, nothing that an epoch executes is changed.
"""
import argparse
import os
import statistics
import sys
import tempfile
import time
import types
from pathlib import Path

import numpy as np
import scipy.sparse
import torch

# Hyper-parameter search, FLOP counting and logging helpers that LightGCN's training never calls.
for name in ("ray", "ray.tune", "thop", "texttable", "hyperopt"):
    try:
        __import__(name)
    except ImportError:
        sys.modules[name] = types.ModuleType(name)
        if "." in name:
            setattr(sys.modules[name.split(".")[0]], name.split(".")[1], sys.modules[name])
DROPPED = {"float": float, "int": int, "bool": bool, "object": object, "long": int, "float_": np.float64, "complex_": np.complex128,
           "unicode_": np.str_}
for name, kind in DROPPED.items():
    if name not in np.__dict__:
        setattr(np, name, kind)
if not hasattr(scipy.sparse.dok_matrix, "_update"):  # RecBole fills its adjacency with it, once
    scipy.sparse.dok_matrix._update = lambda self, items: self._dict.update(items)

from recbole.config import Config  # noqa: E402
from recbole.data import create_dataset, data_preparation  # noqa: E402
from recbole.utils import get_model, get_trainer, init_seed  # noqa: E402


def write_atomic_files(source, folder):
    """sequences.txt (user item item ...) as NAME.inter, a position standing for the time."""
    (folder / "data").mkdir(parents=True)
    count = 0
    with open(folder / "data" / "data.inter", "w") as out:
        out.write("user_id:token\titem_id:token\ttimestamp:float\n")
        for line in open(source / "sequences.txt"):
            user, *items = line.split()
            for t, item in enumerate(items):
                out.write(f"{user}\t{item}\t{t}\n")
            count += len(items)
    return count


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("data", type=Path)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--epochs", type=int, default=3)
    a = p.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        written = write_atomic_files(a.data.resolve(), folder)
        os.chdir(folder)  # RecBole writes logs into the working folder
        settings = {
            "data_path": str(folder), "checkpoint_dir": str(folder / "saved"),
            "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
            "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "group_by": "user", "mode": "full"},
            "embedding_size": 64, "n_layers": 3, "reg_weight": 1e-4, "train_batch_size": 2048, "learning_rate": 1e-3,
            "learner": "adam",
            "train_neg_sample_args": {"distribution": "uniform", "sample_num": 1, "alpha": 1.0, "dynamic": False,
                                      "candidate_num": 0},
            "use_gpu": False, "device": "cpu", "show_progress": False, "state": "ERROR", "log_wandb": False, "worker": 0,
        }
        sys.argv = sys.argv[:1]  # RecBole reads the command line, too
        config = Config(model="LightGCN", dataset="data", config_dict=settings)
        init_seed(1, True)
        dataset = create_dataset(config)
        assert dataset.inter_num == written, (dataset.inter_num, written)
        train, _, _ = data_preparation(config, dataset)
        torch.set_num_threads(a.threads)
        model = get_model("LightGCN")(config, train.dataset).to("cpu")
        trainer = get_trainer(config["MODEL_TYPE"], "LightGCN")(config, model)
        times = []
        for epoch in range(a.epochs + 1):
            start = time.perf_counter()
            loss = trainer._train_epoch(train, epoch, show_progress=False)
            seconds = time.perf_counter() - start
            if epoch:  # the first warms up
                times.append(seconds)
            print(f"epoch {epoch}: loss {loss / len(train):.4f}, {len(train)} steps, {seconds:.2f} s", flush=True)
        print(f"RecBole 1.2.1 LightGCN, {train.dataset.inter_num} positives an epoch, {a.threads} threads, "
              f"torch {torch.__version__}: median {statistics.median(times):.2f} s an epoch")


if __name__ == "__main__":
    main()
