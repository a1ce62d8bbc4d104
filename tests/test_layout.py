"""Versions stand in one place, imports run one way, and the files that must be there are."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
MAKEFILE = (ROOT / "Makefile").read_text()


def pinned() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pairs = [line.split("==") for line in lines if not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in pairs}


def test_constraints_are_names_and_versions_only():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    names = []
    for line in lines:
        if not line.startswith("#"):
            found = re.fullmatch(r"([A-Za-z0-9._-]+)==([0-9][A-Za-z0-9.]*)", line)
            assert found, f"{line!r} is not name==version"  # so no address and no local version
            names.append(canonicalize_name(found[1]))
    assert len(names) == len(set(names)) > 100
    assert not {"cirp", "daam"} & set(names)


def direct() -> list[str]:
    project = PROJECT["project"]
    extras = project["optional-dependencies"].values()
    lines = project["dependencies"] + [line for extra in extras for line in extra]
    return [line for line in lines if not line.startswith("cirp[")]  # one extra brings another


@pytest.mark.parametrize("line", direct())
def test_a_direct_dependency_has_a_range_and_a_tested_version_within(line):
    wanted = Requirement(line)
    assert wanted.url is None
    assert {"<", ">="} <= {clause.operator for clause in wanted.specifier}
    assert wanted.specifier.contains(pinned()[canonicalize_name(wanted.name)])


def test_conda_users_get_the_same():
    text = (ROOT / "environment.yml").read_text()
    dependencies = yaml.safe_load(text)["dependencies"]
    (pip,) = (each["pip"] for each in dependencies if isinstance(each, dict))
    conda = [each for each in dependencies if isinstance(each, str)]
    assert [each for each in conda if re.search("[=<>]", each)] == ["python=3.11"]
    (install,) = re.findall(r"-c constraints\.txt -e \"(\S+)\"", MAKEFILE)
    assert pip == ["-c constraints.txt", f"-e {install}"]
    (extras,) = re.findall(r"\[(.*)\]", install)
    known = PROJECT["project"]["optional-dependencies"]
    every = set(extras.split(","))
    for line in [line for extra in extras.split(",") for line in known[extra]]:
        if line.startswith("cirp["):  # one extra brings others
            every |= set(re.findall(r"\w+", line)[1:])
    assert every == set(known)
    (peers,) = re.findall(r"^PEERS := (.+)$", MAKEFILE, re.M)
    assert f"pip install --no-deps {peers}" in text


def test_imports_run_downwards():
    """Also what figures, metrics and data must not know; the contracts are in pyproject.toml."""
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_module_has_its_place_in_the_layers():
    (layers,) = (c["layers"] for c in PROJECT["tool"]["importlinter"]["contracts"] if "layers" in c)
    placed = {name.strip(" ()") for layer in layers for name in re.split("[|:]", layer)}
    found = {path.stem for path in (ROOT / "cirp").iterdir() if path.suffix == ".py"} | {
        path.parent.name for path in (ROOT / "cirp").glob("*/__init__.py")
    }
    assert found - {"__init__", "__main__"} == placed


def test_what_the_package_needs_at_run_time_is_packed():
    assert PROJECT["tool"]["setuptools"]["package-data"]["cirp"] == [
        "figures/static/*",
        "explorer/static/*",
        "scoring/*.jinja",
    ]
    read = set(
        re.findall(
            r"[\"'](\w+\.(?:js|css|html))[\"']", (ROOT / "cirp/figures/explorers.py").read_text()
        )
    )
    assert read == {path.name for path in (ROOT / "cirp" / "figures" / "static").iterdir()}


def test_make_help_knows_every_target():
    (targets,) = re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.M)
    shown = set(re.findall(r'@echo "make (\w+)', MAKEFILE))
    assert shown == set(targets.split()) - {"help"}


def test_ci_is_a_script_that_runs_the_tests_and_the_book():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    text = script.read_text()
    assert text.startswith("#!/usr/bin/env bash") and "set -euo pipefail" in text
    assert text.index("make test") < text.index("make book")


def test_a_python_that_is_too_old_is_refused_with_the_remedy(tmp_path):
    (tmp_path / "Makefile").write_text(MAKEFILE)
    for path in ("pyproject.toml", "constraints.txt"):
        (tmp_path / path).touch()
    (tmp_path / "cirp").mkdir()
    done = subprocess.run(
        ["make", "test", "PYTHON=false"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode != 0
    assert "'false' is not Python 3.11 or newer; name one: make test PYTHON=..." in done.stderr
    assert not (tmp_path / ".venv").exists()


def tracked() -> list[Path]:
    """Every file of the repository."""
    said = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    return [ROOT / name for name in said.stdout.decode().split("\0") if name]


needs_git = pytest.mark.skipif(not (ROOT / ".git").exists(), reason="no checkout")


@needs_git
def test_no_file_names_a_path_of_somebodys_machine():
    home = re.compile(r"(?<![\w.])/(?:root|home|Users|work|tmp)/[\w.-]+")
    for path in tracked():
        vendored = "vendor" in path.parts  # third-party code names paths of its own sandbox
        if vendored or path.suffix in (".png", ".safetensors", ".npz") or not path.is_file():
            continue
        text = path.read_text(errors="ignore")
        if path != Path(__file__):
            assert not home.search(text), (path, home.search(text)[0])
        if path.suffix == ".json":
            assert "_name_or_path" not in text, path


@needs_git
def test_figures_stay_small():
    sizes = {path: path.stat().st_size for path in (ROOT / "figures").iterdir()}
    assert sum(sizes.values()) < 10e6
    for path in sizes:
        assert path.suffix in (".webp", ".svg")
        if path.suffix == ".svg":
            assert "<image" not in path.read_text(), f"{path.name}: pictures are WebP only"


@pytest.mark.parametrize("name", ["run", "begin", "level", "split", "recorded", "short"])
def test_one_function_of_one_name(name):
    """These had stood for several things each; a method or an inner function is not meant."""
    having = [
        path
        for path in (ROOT / "cirp").rglob("*.py")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef) and node.name == name
    ]
    assert len(having) <= 1, [path.name for path in having]


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("attention/maps.py", "token_maps"),  # where a word's map is made
        ("methods/lime.py", "mask"),  # where LIME's features are clustered
        ("statistics/bootstrap.py", "mean_interval"),
        ("experiments/results.py", "table"),  # where every table comes from
        ("chapters/remap.py", "evidence"),  # where chapter 11's figure is drawn
    ],
)
def test_an_idea_is_in_the_file_that_is_named_for_it(file, name):
    tree = ast.parse((ROOT / "cirp" / file).read_text())
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
