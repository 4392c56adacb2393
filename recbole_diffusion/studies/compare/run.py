"""The command ``compare``: plan, run what is missing, write the tables."""

import os
import time
from collections.abc import Mapping, Sequence
from functools import partial
from importlib import import_module
from logging import Logger
from pathlib import Path
from typing import Any

from recbole_diffusion.base.errors import DamagedFile, UserError
from recbole_diffusion.base.files import (
    LOCK,
    make_folder,
    read_json,
    sole_writer,
    write_json,
    written_whole,
)
from recbole_diffusion.base.log import run_logger
from recbole_diffusion.evaluation.metrics import metric_names
from recbole_diffusion.evaluation.protocol import check_modes
from recbole_diffusion.pages.tables import as_latex, as_markdown, as_text
from recbole_diffusion.studies.compare import tables, worker
from recbole_diffusion.studies.compare.parts import Parts
from recbole_diffusion.studies.compare.plan import (
    Cell,
    Data,
    code_of,
    comparison_folder,
    make_cells,
    make_config,
    make_configs,
    of_other_code,
    read_data,
    search_folder,
)
from recbole_diffusion.studies.compare.report import write_report
from recbole_diffusion.studies.compare.request import (
    Request,
    check_run_keys,
    read_request,
    told_unread,
)
from recbole_diffusion.studies.compare.results import WARNING_ON_TEST, collect, tested_metrics
from recbole_diffusion.studies.compare.settings import CompareSettings
from recbole_diffusion.studies.compare.worker import TUNED
from recbole_diffusion.studies.jobs.local import asked_gpu, modules_of
from recbole_diffusion.studies.jobs.process import STORAGE_VARIABLE, Job, Outcome, read_failure
from recbole_diffusion.studies.jobs.workers import Workers, workers

# Of a comparison's time, for the tables before the last ones: each holds all cells.
TABLES_SHARE = 0.05


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
    first = {"models": models, "dataset": dataset, "config_files": config_files}
    keys = {key: value for key, value in first.items() if value is not None}
    request = read_request({**keys, **(config_dict or {})})
    check_run_keys(request)
    with workers(request.settings.cluster) as those:
        return _Comparison(request, those).run()


class _Comparison:
    """One call of ``compare``.

    Attributes:
        request: What is asked for.
        workers: Who runs what is missing.
        folder: Where everything lies.
        tuning: What the search of each model found, by label.
        failed_searches: Why a search failed, by label.
    """

    def __init__(self, request: Request, workers: Workers) -> None:
        self.request, self.workers = request, workers
        self.folder = comparison_folder(request).resolve()
        settings = request.settings
        self.cache = Path(settings.output_dir).resolve()
        self.limits = workers.limits(settings.processes, settings.memory_mb)
        self._is_tuned = settings.tune > 0
        if self._is_tuned:
            _check_tuning(settings)
        self._needs_train_masked = any(p.masks_train_only for p in request.protocols)
        self.tuning: dict[str, Any] = {}
        self.failed_searches: dict[str, str] = {}
        self.configs = make_configs(request, self.cache)
        first = next(iter(self.configs.values()))
        tested_metrics(request, first)
        check_modes(request.protocols, first["eval_args"])
        self.data: Data = read_data(self.configs)
        self.parts = Parts(metric_names(first), first["topk"], request.protocols, self.data.users)
        self._tables_due = 0.0

    def run(self) -> dict[str, Any]:
        """Tune what is to be tuned, run what is missing, write what there is."""
        make_folder(self.folder)
        with sole_writer(self.folder / LOCK), run_logger(self.folder, "info") as log:
            try:
                self._tell_plan(log)
                self._run_models(log)
            except KeyboardInterrupt:
                self._write()
                log.critical("interrupted; the same command goes on")
                raise
            results = self._write()
            log.info(as_text(tables.make_tables(results)).rstrip())
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
        request, settings, data = self.request, self.request.settings, self.data
        log.info(
            f"comparison of {', '.join(request.models)} on {settings.dataset}, seeds "
            f"{', '.join(map(str, request.seeds))}: split {data.split_hash}, {data.users} users, "
            f"{data.items} items, {data.sizes}\n  folder: {self.folder}"
        )
        for line in told_unread(request):
            log.warning(line)
        for protocol in request.protocols:
            if protocol.selects_on_test:
                log.warning(f"WARNING: {protocol.name}: {WARNING_ON_TEST}")
        plan = {
            "models": {label: model.name for label, model in request.models.items()},
            "dataset": settings.dataset,
            "seeds": list(request.seeds),
            "config_files": settings.config_files,
            "shared": request.keys,
            "own": {label: model.keys for label, model in request.models.items()},
            "options": {**vars(settings), "tune_storage": None},  # may hold a password
            "command": request.command(list(request.models), request.seeds),
            "data": data.as_dict(),
        }
        write_json(self.folder / "plan.json", plan)

    def _run_models(self, log: Logger) -> None:
        """Do what is missing; the tables grow with it."""
        jobs = [job for label in self.request.models for job in self._next_jobs(log, label)]
        self._check_split()
        self._write()
        log.info(f"{'runs and searches' if self._is_tuned else 'runs'} to do: {len(jobs)}")
        self._run_jobs(log, jobs)
        if self._is_tuned and not self.tuning:
            raise UserError(f"every search failed: see output.txt in {self.folder / 'tuning'}")
        self._check_split()

    def _next_jobs(self, log: Logger, label: str) -> list[Job]:
        """The search for a model's settings or, where these are known, the cells it lacks."""
        if self._is_tuned:
            search = self._search_job(log, label)
            found = _found(log, search)
            if found is None:
                _tell_other_code(log, search)
                return [search]
            self._take_settings(label, found)
        return self._cell_jobs(log, label)

    def _after_search(self, log: Logger, label: str, folder: Path) -> list[Job]:
        failure = read_failure(folder)
        try:
            found = {} if failure else _read_tuned(folder / TUNED)["found"]
        except DamagedFile as error:
            failure = str(error).replace(f"{self.folder}{os.sep}", "")
        if failure:
            self.failed_searches[label] = failure
            log.warning(f"{label}: not run, as its search failed")
            return []
        self._take_settings(label, found)
        # Without runs to do, as after a search of more minutes, no run ends that writes the row.
        return self._cell_jobs(log, label) or self._after_cell(label)

    def _take_settings(self, label: str, found: Mapping[str, Any]) -> None:
        self.tuning[label] = found
        self.configs[label] = make_config(self.request, label, self.cache, found["settings"])

    def _search_job(self, log: Logger, label: str) -> Job:
        settings, config = self.request.settings, self.configs[label]
        task = {
            "kind": "tune",
            "code": code_of(config),
            "modules": [*settings.modules, *modules_of(config)],
            "model": config.registration.key,
            "dataset": settings.dataset,
            "config_files": settings.config_files,
            "config_dict": self.request.run_keys(label, output_dir=str(self.cache)),
            "n_trials": settings.tune,
            "minutes": settings.tune_minutes,
            "trial_minutes": settings.trial_minutes,
        }
        folder = search_folder(self.request, label, config, self.data, self.folder)
        storage = {STORAGE_VARIABLE: settings.tune_storage or ""}
        then = partial(self._after_search, log, label, folder)
        gpu = asked_gpu(config) is not False
        return Job(f"search for {label}", f"tune {label}", folder, task, storage, then, gpu)

    def _cell_jobs(self, log: Logger, label: str) -> list[Job]:
        jobs = []
        for cell in self._cells(label):
            job = self._cell_job(cell)
            self.limits.measured(job)
            is_damaged = self.parts.damage(cell) is not None
            if is_damaged and self.request.settings.retry_failed:
                log.warning(f"{job.name}: its files are now in runs/{cell.set_aside().name}")
                self.parts.forget(cell)
                jobs.append(job)
            elif is_damaged:
                continue  # which has been told
            elif cell.failure() and not self.request.settings.retry_failed:
                log.warning(f"{job.name} failed before, and --retry_failed=true runs it again")
            elif cell.lacks(self._needs_train_masked):
                _tell_other_code(log, job)
                jobs.append(job)
        return jobs

    def _after_cell(self, label: str) -> list[Job]:
        """With the last cell of a model, its row is complete."""
        if time.monotonic() >= self._tables_due and all(
            self.parts.trouble(cell) or not cell.lacks(self._needs_train_masked)
            for cell in self._cells(label)
        ):
            self._write()
        return []

    def _check_split(self) -> None:
        """Demand that every finished cell had the comparison's split.

        Raises:
            UserError: One had not.
        """
        for cell in self._cells():
            part = self.parts.of(cell)
            found = self.data.split_hash if part is None else part.result["split_hash"]
            if found != self.data.split_hash:
                raise UserError(
                    f"{cell.folder}: found split {found}, the comparison has "
                    f"{self.data.split_hash}; remove that folder to run the cell again"
                )

    def _cells(self, label: str | None = None) -> list[Cell]:
        """Of the models whose settings are known, or of one."""
        known = {**self.tuning, **self.failed_searches} if self._is_tuned else self.configs
        configs = {n: c for n, c in self.configs.items() if n in known and label in (None, n)}
        return make_cells(self.request, configs, self.data, self.folder)

    def _cell_job(self, cell: Cell) -> Job:
        config = self.configs[cell.label]
        gpu = asked_gpu(config)
        # Another machine may have a GPU where this one has none.
        device = {"use_gpu": gpu} if self.workers.is_elsewhere else {}
        task = {
            "kind": "cell",
            "code": code_of(config),
            "modules": [*self.request.settings.modules, *modules_of(config)],
            "model": cell.model,
            "dataset": self.request.settings.dataset,
            "settings": {**cell.settings, **device},
            "selects_on_test": cell.selects_on_test,
            "with_train_masked": self._needs_train_masked,
        }
        then = partial(self._after_cell, cell.label)
        return Job(
            cell.name, cell.label, cell.folder, task, then=then, may_use_gpu=gpu is not False
        )

    def _run_jobs(self, log: Logger, jobs: Sequence[Job]) -> None:
        def told(outcome: Outcome) -> None:
            text = f"{outcome.job.name}: "
            if outcome.error is None:
                log.info(text + f"done in {outcome.seconds:.1f} s")
            else:
                log.error(text + f"FAILED: {outcome.error}")

        def begun(job: Job) -> None:
            log.info(f"{job.name}: {self.workers.word}")

        self.workers.run_jobs(jobs, self.limits, begun, told)

    def _write(self) -> dict[str, Any]:
        """Write ``results.json`` and the tables; gives the former."""
        began = time.monotonic()
        found = (self._cells(), self.tuning, self.failed_searches, self.parts)
        results = collect(self.request, self.configs, self.data, *found, self.folder)
        write_json(self.folder / "results.json", results)
        made = tables.make_tables(results)
        texts = {
            "txt": as_text(made),
            "md": as_markdown(made),
            "tex": as_latex(made),
            "csv": tables.as_csv(results),
        }
        for suffix, text in texts.items():
            with written_whole(self.folder / f"table.{suffix}") as stream:
                stream.write(text.encode())
        ended = time.monotonic()
        self._tables_due = ended + (ended - began) / TABLES_SHARE
        return results


def _tell_other_code(log: Logger, job: Job) -> None:
    other = None if job.folder.exists() else of_other_code(job.folder, job.task)
    if other is not None:
        place = f"{other.parent.name}/{other.name}"
        log.info(f"{job.name}: {place} is from another version of the code; it is run again")


def _found(log: Logger, job: Job) -> Any:
    """What an earlier job found that was asked for the same; None without one."""
    path = job.folder / TUNED
    if not path.is_file():
        return None
    try:
        content = _read_tuned(path)
    except DamagedFile as error:
        log.warning(f"{job.name}: {error}; it is made anew from its study")
        return None
    return content["found"] if content["asked"] == job.task else None


def _read_tuned(path: Path) -> dict[str, Any]:
    content = read_json(path, "asked", "found")
    found = content["found"]
    if not isinstance(found, dict) or not isinstance(found.get("settings"), dict):
        raise DamagedFile(f"{path}: found {found!r}, expected the settings that a search found")
    return content


def _check_tuning(settings: CompareSettings) -> None:
    worker.tuned_settings()
    storage = import_module("recbole_diffusion.studies.tune.storage")
    storage.check_url("tune_storage", settings.tune_storage)
