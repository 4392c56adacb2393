"""Item texts as sparse TF-IDF vectors, which need no encoder."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.feature_extraction.text import TfidfVectorizer

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.data.feature_files import examples
from recbole_diffusion.data.feature_table import FeatureTable
from recbole_diffusion.data.text_vectors import item_texts

# Single words and pairs, each in two items or more, which weigh 1 + log of their count in a text.
OPTIONS: dict[str, Any] = {"ngram_range": (1, 2), "min_df": 2, "sublinear_tf": True}


def tfidf_table(config: Any, fields: Sequence[str]) -> tuple[FeatureTable, sp.csr_matrix]:
    """Vectors of the items' texts, each of length 1.

    Args:
        config: Settings, which name the data set.
        fields: Columns of the ``.item`` file, joined in this order; empty ones are left out.

    Returns:
        The ids of the items that have a text, without blocks, and their vectors, float32
        [n, words].

    Raises:
        UserError: No such file or column, no text, repeated ids, or no word that two items share.
    """
    path, ids, texts = item_texts(config, fields)
    has_text = (texts != "").to_numpy()
    source = f"TF-IDF of {', '.join(fields)} of {path}"
    try:
        vectors = TfidfVectorizer(dtype=np.float32, **OPTIONS).fit_transform(texts[has_text])
    except ValueError as error:  # the message of an empty vocabulary names options of scikit-learn
        raise UserError(f"{source}: found no word in two items or more, expected some") from error
    empty = ids[~has_text]
    remark = f"; empty for {examples(empty)}" if len(empty) else ""
    width = vectors.shape[1]
    return FeatureTable(source, ids[has_text], width, "words", iter(()), remark), vectors
