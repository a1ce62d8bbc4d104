"""What a wheel carries beside the code: the miniature and the ten examples, in cirp/shipped.

A part that both pipelines share is stored once, in the first; `cirp.diffusion.pipelines.load` takes
it from there. All other settings are in pyproject.toml.
"""

import json
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

DATA = Path(__file__).parent / "data"
MODELS = ("instruct-pix2pix", "text-to-image", "clip", "dinov2", "judge")


class WithTheMiniature(build_py):
    def run(self):
        super().run()
        if self.editable_mode:  # the checkout has them
            return
        shipped = Path(self.build_lib) / "cirp" / "shipped"
        shutil.rmtree(shipped, ignore_errors=True)
        for name in MODELS:
            shutil.copytree(DATA / "models" / name, shipped / "models" / name)
        first, second = (shipped / "models" / name for name in MODELS[:2])
        for part in [path for path in second.iterdir() if path.is_dir()]:
            if contents(part) == contents(first / part.name):
                shutil.rmtree(part)
        self.copy_examples(shipped / "edits")
        shutil.copy(DATA / "plan.toml", shipped)

    def copy_examples(self, folder):
        lines = (DATA / "edits" / "metadata.jsonl").read_text(encoding="utf-8").split("\n")
        rows = [json.loads(line) for line in lines if line.strip()]
        rows = [row for row in rows if row.get("example")]
        for row in rows:
            shutil.copytree(DATA / "edits" / row["id"], folder / row["id"])
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / "metadata.jsonl").write_text(text, encoding="utf-8")


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.is_dir() else None


setup(cmdclass={"build_py": WithTheMiniature})
