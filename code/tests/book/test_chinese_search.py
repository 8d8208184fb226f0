"""Chinese search: the index (Python) and the query (the browser's JavaScript) cut text into the same terms."""

import json
import subprocess

import pytest
from sphinx_sysai.chinese_search import SearchChinesePairs
from sphinx_sysai.node import node

TEXTS = [
    "编译器后端",
    "计算图",
    "KV缓存",
    "KV 缓存与 attention 的关系",
    "GQA：分组查询注意力",
    "图",
    "FP8 精度、x_BTD",
    "é 与 ß",
]


def javascript_terms(text: str) -> list[str]:
    program = f"{SearchChinesePairs.js_splitter_code}\nconsole.log(JSON.stringify(splitQuery({json.dumps(text)})))"
    done = subprocess.run([node(), "-e", program], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize("text", TEXTS)
def test_index_and_query_agree(text):
    assert SearchChinesePairs({}).split(text) == javascript_terms(text)


def test_a_word_inside_a_sentence_is_found():
    sentence = SearchChinesePairs({}).split("把计算图交给编译器后端")
    for word in ("计算图", "编译器", "后端", "编译器后端"):
        assert set(SearchChinesePairs({}).split(word)) <= set(sentence)
    assert not set(SearchChinesePairs({}).split("解码")) <= set(sentence)
