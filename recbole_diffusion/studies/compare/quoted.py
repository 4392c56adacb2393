"""Numbers that papers report for a data set: rows beside ours, never tested and never in bold."""

from typing import Any

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.settings.property_files import properties_folder, read_properties

# What papers call a model that has another name here.
SAME_MODEL = {
    "MF": "BPR",
    "MF-BPR": "BPR",
    "InfoDCL-S": "InfoDCL",
    "InfoDCL-D": "InfoDCL",
    "InfoDCL (text and image)": "InfoDCL",
    "SimDiff (image)": "SimDiff",
    "SimDiff (text)": "SimDiff",
    "L-DiffRec": "LDiffRec",
}


def quoted_rows(dataset: str) -> list[dict[str, Any]]:
    """All rows of ``properties/quoted/<dataset>.yaml``; none where there is no such file.

    Returns:
        ``name`` as the paper has it, ``model`` as it is called here, ``source`` (paper and table),
        ``note``, ``metrics`` by name such as "recall@20".

    Raises:
        UserError: A malformed file.
    """
    path = properties_folder() / "quoted" / f"{dataset}.yaml"
    if not path.is_file():
        return []
    rows = []
    for table in read_properties(path)["tables"]:
        for name, values in table["rows"].items():
            if len(values) != len(table["metrics"]):
                raise UserError(
                    f"{path}: {table['source']}, {name}: found {len(values)} values, expected "
                    f"{len(table['metrics'])}"
                )
            rows.append(
                {
                    "name": name,
                    "model": SAME_MODEL.get(name, name),
                    "source": table["source"],
                    "note": table.get("note"),
                    "metrics": dict(zip(table["metrics"], values, strict=True)),
                }
            )
    return rows
