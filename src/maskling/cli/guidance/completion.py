"""`maskling completion`: complete commands in a shell.

The script of a shell is a few lines that ask maskling for the candidates of the words typed so far, so they follow the
verbs, options and settings of the version that is installed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Literal, TypeAlias

from cyclopts import Parameter

from maskling.cli import GROUPS, VERBS
from maskling.cli.guidance.help import COMMON_OPTIONS
from maskling.console import Console

Candidate: TypeAlias = tuple[str, str]
"""A word that completes the last one typed, and its help."""

_BASH = """\
_maskling() {
    local IFS=$'\\n'
    COMPREPLY=($(maskling completion bash -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
    if [[ ${COMPREPLY[0]} == *. ]]; then compopt -o nospace; fi
}
complete -o default -o bashdefault -F _maskling maskling"""

_ZSH = """\
#compdef maskling
_maskling() {
    local -a found
    found=("${(@f)$(maskling completion zsh -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    if [[ -z ${found[1]} ]]; then
        _files
    elif [[ ${${found[1]}%%:*} == *. ]]; then
        _describe -o maskling found -S ''
    else
        _describe -o maskling found
    fi
}
compdef _maskling maskling"""

_FISH = """\
function __maskling_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    test -z "$current"; and set current ''
    set -l found (maskling completion fish -- $words[2..-1] $current 2>/dev/null)
    if test -n "$found"
        printf '%s\\n' $found
    else
        __fish_complete_path "$current"
    end
end
complete -c maskling -f -a '(__maskling_complete)'"""

_SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}
_DEVICES = ("auto", "cpu", "cuda", "mps")


def completion(
    shell: Annotated[Literal["bash", "zsh", "fish"], Parameter(help="bash, zsh or fish")],
    /,
    *words: Annotated[str, Parameter(help="after --: print what completes the last of these words of a command")],
) -> None:
    """Print the script that completes commands in bash, zsh or fish.

    Verbs, options, settings and their values are completed, and files where one is due. For bash, put this line into
    ~/.bashrc: eval "$(maskling completion bash)". For zsh, after compinit in ~/.zshrc: eval "$(maskling completion
    zsh)". For fish: maskling completion fish > ~/.config/fish/completions/maskling.fish

    Example: maskling completion bash
    """
    console = Console()
    if not words:
        for line in _SCRIPTS[shell].splitlines():
            console.result(line)
        return
    for word, text in candidates(words):
        escaped = word.replace(":", "\\:")
        line = {"bash": word, "zsh": f"{escaped}:{text}", "fish": f"{word}\t{text}"}[shell]
        console.result(line)


def candidates(words: Sequence[str]) -> list[Candidate]:
    """Return what completes the last of the words after 'maskling'; empty where a file or a text is due."""
    *before, current = words
    before = [part for word in before for part in (word.split("=", 1) if word.startswith("--") else [word])]
    before = [word for word in before if word != "="]  # bash splits '--per=word' at the sign
    kept = ""
    if current == "=":
        current = ""
    elif current.startswith("--") and "=" in current:
        option, _, current = current.partition("=")
        before, kept = [*before, option], f"{option}="
    return sorted({f"{kept}{word}": text for word, text in _all(before, current) if word.startswith(current)}.items())


def _all(before: Sequence[str], current: str) -> Iterator[Candidate]:
    from maskling.cli.main import split_verbosity, verb_and_rest

    summaries = {verb: text for group in GROUPS.values() for verb, text in group.items()}
    before, _ = split_verbosity(before)
    verb, rest = verb_and_rest(before)
    if not before:
        yield from ((name, text) for name, text in summaries.items() if " " not in name)
        yield from (("--help", "show the verbs"), ("--version", "print the version"))
        return
    if verb not in VERBS:
        return
    if not rest:
        yield from ((two.split()[1], text) for two, text in summaries.items() if two.startswith(f"{verb} "))
    yield from _of_verb(verb, rest, current)


def _of_verb(verb: str, rest: Sequence[str], current: str) -> Iterator[Candidate]:
    from maskling.cli.main import verb_function
    from maskling.cli.options import parameters_of, setting_choices_of, settings_of

    function = verb_function(verb)
    options = [one for one in parameters_of(function) if one.is_option and one.names[0] != "--SECTION.KEY"]
    if rest and rest[-1].startswith("-"):
        wanted = next((one for one in options if rest[-1] in one.names), None)
        if wanted is not None and wanted.metavar:
            yield from ((value, "") for value in wanted.choices or _values(rest[-1]))
            return
        if wanted is None and "." in rest[-1]:
            yield from ((value, "") for value in setting_choices_of(verb, rest[-1].lstrip("-")))
            return
    if not current.startswith("-"):
        return
    yield from ((name, one.help) for one in options for name in one.names)
    yield from ((name.split(", ")[1], text) for name, text in COMMON_OPTIONS)
    paths = [f"--{path.replace('_', '-')}" for path in settings_of(verb, function)]
    if "." in current:
        yield from ((path, "") for path in paths)
    else:
        yield from ((f"{path.partition('.')[0]}.", "settings") for path in paths if "." in path)


def _values(option: str) -> Sequence[str]:
    if option == "--preset":
        from maskling.train.recipe import preset_names

        return preset_names()
    if option == "--task":
        from maskling.finetuning.kinds import KINDS

        return list(KINDS)
    return _DEVICES if option == "--device" else ()
