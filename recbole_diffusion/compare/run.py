"""The command ``compare``: plan, run what is missing, write the tables."""

import json
from collections.abc import Mapping, Sequence
from logging import Logger
from pathlib import Path
from typing import Any

from recbole_diffusion import report
from recbole_diffusion.analyze.report import write_report
from recbole_diffusion.compare import tables
from recbole_diffusion.compare.jobs import (
    STORAGE_VARIABLE,
    TUNED,
    Job,
    Limits,
    Outcome,
    machine_memory_mb,
    run_jobs,
)
from recbole_diffusion.compare.plan import (
    FAILURE,
    Cell,
    Data,
    check_split,
    comparison_folder,
    make_cells,
    make_configs,
    read_data,
    read_json,
    search_folder,
)
from recbole_diffusion.compare.protocol import check_modes
from recbole_diffusion.compare.request import Request, read_request
from recbole_diffusion.compare.results import WARNING_ON_TEST, collect, tested_metrics
from recbole_diffusion.config import Config
from recbole_diffusion.errors import UserError
from recbole_diffusion.files import sole_writer, written_whole
from recbole_diffusion.registry import find_model


def compare(
    models: str | Sequence[str] | None = None,
    dataset: str | None = None,
    config_files: str | Sequence[str] | None = None,
    config_dict: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Compare models on one split, over several seeds; the same call goes on with what is missing.

    Args:
        models: Names, or ``LABEL=NAME``; a list, or a text with commas.
        dataset: Name of the data set.
        config_files: Property file or files for all models.
        config_dict: Keys of ``properties/compare.yaml``, keys of runs for all models, and
            ``NAME.key`` for one.

    Returns:
        What ``results.json`` in the comparison's folder holds; docs/compare.md describes it.

    Raises:
        UserError: Bad keys, settings or data, before anything runs; or another process at work in
            the folder.
        KeyboardInterrupt: After saying how to go on.
    """
    request = read_request(models, dataset, config_files, config_dict or {})
    return _Comparison(request).run()


def main(keys: Mapping[str, Any]) -> None:
    """The command line's way in: ``compare --models=A,B --dataset=D [--key=value ...]``.

    Args:
        keys: Of the command line.
    """
    compare(config_dict=keys)


class _Comparison:
    """One call of ``compare``.

    Attributes:
        request: What is asked for.
        folder: Where everything lies.
        tuning: What the search of each model found, by label.
        failed_searches: Why a search failed, by label.
    """

    def __init__(self, request: Request) -> None:
        self.request = request
        self.folder = comparison_folder(request).resolve()
        self.cache = Path(request.options["output_dir"]).resolve()
        options = request.options
        memory = options["memory_mb"] or machine_memory_mb()
        self.limits = Limits(options["processes"], memory)
        self.tuning: dict[str, Any] = {}
        self.failed_searches: dict[str, str] = {}
        self.configs = make_configs(request, self.cache, {})
        first = next(iter(self.configs.values()))
        tested_metrics(request, first)
        check_modes(request.protocols, first["eval_args"])
        self.data: Data = read_data(self.configs)

    def run(self) -> dict[str, Any]:
        """Tune what is to be tuned, run what is missing, write what there is."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with sole_writer(self.folder / "run.log"), report.run_logger(self.folder, "info") as log:
            try:
                self._tell_plan(log)
                if self.request.options["tune"]:
                    self._tune(log)
                cells = make_cells(self.request, self.configs, self.data, self.folder)
                check_split(cells, self.data)
                self._run_cells(log, cells)
            except KeyboardInterrupt:
                log.critical("interrupted; the same command goes on")
                raise
            results = self._write(cells)
            log.info(tables.as_text(tables.make_tables(results)).rstrip())
            log.info(f"results: {self.folder}")
            self._write_report(log)
        return results

    def _write_report(self, log: Logger) -> None:
        """The page; the results stand without it."""
        try:
            log.info(f"report: {write_report(self.folder)}")
        except UserError as error:
            log.error(f"no report: {error}")

    def _tell_plan(self, log: Logger) -> None:
        request, data = self.request, self.data
        log.info(
            f"comparison of {', '.join(request.models)} on {request.dataset}, seeds "
            f"{', '.join(map(str, request.seeds))}: split {data.split_hash}, {data.users} users, "
            f"{data.items} items, {data.sizes}\n  folder: {self.folder}"
        )
        for protocol in request.protocols:
            if protocol.selects_on_test:
                log.warning(f"WARNING: {protocol.name}: {WARNING_ON_TEST}")
        plan = {
            "models": request.models,
            "dataset": request.dataset,
            "seeds": list(request.seeds),
            "config_files": list(request.config_files),
            "shared": request.shared,
            "own": request.own,
            "options": {**request.options, "tune_storage": None},  # may hold a password
            "command": request.command(list(request.models), request.seeds),
            "data": data.as_dict(),
        }
        _write_json(self.folder / "plan.json", plan)

    def _tune(self, log: Logger) -> None:
        """Search the settings of every model; one whose search failed is not run."""
        jobs = {label: self._search_job(label) for label in self.request.models}
        self._run_jobs(log, [job for job in jobs.values() if _found(job) is None])
        for label, job in jobs.items():
            found = _found(job)
            if found is None:
                self.failed_searches[label] = read_json(job.folder / FAILURE)["error"]
            else:
                self.tuning[label] = found
        if not self.tuning:
            raise UserError(f"every search failed: see output.txt in {self.folder / 'tuning'}")
        settings = {label: entry["settings"] for label, entry in self.tuning.items()}
        self.configs = make_configs(self.request, self.cache, settings)

    def _search_job(self, label: str) -> Job:
        options, config = self.request.options, self.configs[label]
        task = {
            "kind": "tune",
            "modules": _modules(config),
            "model": find_model(self.request.models[label]).key,
            "dataset": self.request.dataset,
            "config_files": list(self.request.config_files),
            "config_dict": self.request.overrides(label, output_dir=str(self.cache)),
            "n_trials": options["tune"],
            "minutes": options["tune_minutes"],
            "trial_minutes": options["trial_minutes"],
        }
        folder = search_folder(self.request, label, config, self.data, self.folder)
        storage = {STORAGE_VARIABLE: options["tune_storage"] or ""}
        return Job(f"search for {label}", f"tune {label}", folder, task, storage)

    def _run_cells(self, log: Logger, cells: Sequence[Cell]) -> None:
        asked = any(protocol.masks_train_only for protocol in self.request.protocols)
        jobs = []
        for cell in cells:
            job = self._cell_job(cell, asked)
            self.limits.measured(job)
            if cell.failure() and not self.request.options["retry_failed"]:
                log.warning(f"{job.name} failed before, and --retry_failed=true runs it again")
            elif cell.label in self.failed_searches:
                log.warning(f"{job.name}: not run, as its search failed")
            elif cell.lacks(asked):
                jobs.append(job)
        log.info(f"{len(cells)} runs, {len(jobs)} of them to do")
        self._write(cells)
        self._run_jobs(log, jobs)
        check_split(cells, self.data)

    def _cell_job(self, cell: Cell, with_train_masked: bool) -> Job:
        task = {
            "kind": "cell",
            "modules": _modules(self.configs[cell.label]),
            "model": cell.model,
            "dataset": self.request.dataset,
            "settings": cell.settings,
            "selects_on_test": cell.selects_on_test,
            "with_train_masked": with_train_masked,
        }
        on_test = ", best epoch picked on test" if cell.selects_on_test else ""
        return Job(f"{cell.label}, seed {cell.seed}{on_test}", cell.label, cell.folder, task)

    def _run_jobs(self, log: Logger, jobs: Sequence[Job]) -> None:
        def told(outcome: Outcome) -> None:
            text = f"{outcome.job.name}: "
            if outcome.error is None:
                log.info(text + f"done in {outcome.seconds:.1f} s")
            else:
                log.error(text + f"FAILED: {outcome.error}")

        run_jobs(jobs, self.limits, lambda job: log.info(f"{job.name}: started"), told)

    def _write(self, cells: Sequence[Cell]) -> dict[str, Any]:
        """Write ``results.json`` and the tables; gives the former."""
        searches = (self.tuning, self.failed_searches)
        results = collect(self.request, self.configs, self.data, cells, *searches, self.folder)
        _write_json(self.folder / "results.json", results)
        made = tables.make_tables(results)
        texts = {
            "txt": tables.as_text(made),
            "md": tables.as_markdown(made),
            "tex": tables.as_latex(made),
            "csv": tables.as_csv(results),
        }
        for suffix, text in texts.items():
            with written_whole(self.folder / f"table.{suffix}") as stream:
                stream.write(text.encode())
        return results


def _found(job: Job) -> Any:
    """What an earlier job found that was asked for the same; None without one."""
    path = job.folder / TUNED
    if not path.is_file():
        return None
    content = read_json(path)
    return content["found"] if content["asked"] == job.task else None


def _modules(config: Config) -> list[str]:
    """Modules that register a model of the user's when they are imported.

    Raises:
        UserError: It was made where another process cannot import it.
    """
    module = config.model_class.__module__
    if module.startswith(("recbole.", "recbole_diffusion.")):
        return []
    if module == "__main__":
        raise UserError(
            f"model {config.model}: a comparison runs in processes of its own, which cannot "
            "import what a script defines; expected the class and its `register` in a module"
        )
    return [module]


def _write_json(path: Path, content: Any) -> None:
    with written_whole(path) as stream:
        stream.write((json.dumps(content, indent=2, default=str) + "\n").encode())
