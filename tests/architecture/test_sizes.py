"""The ceilings of the house style: small functions, small files, few parameters, docstrings."""

from __future__ import annotations

import ast

from tests.architecture.sources import files_of_tests, functions, parse, product_files, short

FUNCTION_LINES = 50
FILE_LINES = 350
TEST_FILE_LINES = 500
PARAMETERS = 5


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    arguments = function.args
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return len([argument for argument in named if argument.arg not in ("self", "cls")])


def test_functions_stay_under_their_ceiling() -> None:
    assert [
        f"{short(path)}:{function.name} has {lines} lines"
        for path in [*product_files(), *files_of_tests()]
        for function in functions(path)
        if (lines := (function.end_lineno or 0) - function.lineno + 1) > FUNCTION_LINES
    ] == []


def test_files_stay_under_their_ceiling() -> None:
    limits = dict.fromkeys(product_files(), FILE_LINES)
    limits |= dict.fromkeys(files_of_tests(), TEST_FILE_LINES)
    assert [
        f"{short(path)} has {lines} lines"
        for path, limit in limits.items()
        if (lines := len(path.read_text().splitlines())) > limit
    ] == []


def test_functions_take_few_parameters() -> None:
    assert [
        f"{short(path)}:{function.name} takes {count}"
        for path in product_files()
        for function in functions(path)
        if (count := parameters(function)) > PARAMETERS
    ] == []


def test_every_module_says_what_it_owns() -> None:
    assert [
        short(path)
        for path in [*product_files(), *files_of_tests()]
        if path.read_text().strip() and not ast.get_docstring(parse(path))
    ] == []
