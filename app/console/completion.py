"""`parquet-sink completion SHELL`: a script for the shell, made of the commands' own arguments."""

import argparse
from collections.abc import Mapping, Sequence
from typing import Any, Final

SHELLS: Final = ("bash", "zsh", "fish")

Words = Mapping[str, Sequence[tuple[str, str]]]
"""By command: its actions and options, each with what it is for."""


def words_of(parser: argparse.ArgumentParser) -> tuple[Mapping[str, str], Words]:
    """The help text of each command, and its arguments."""
    found: dict[str, list[tuple[str, str]]] = {}
    helps: dict[str, str] = {}
    for commands in _subparsers(parser):
        helps |= {choice.dest: choice.help or "" for choice in commands._choices_actions}
        for name, command in commands.choices.items():
            found[name] = _options(command)
            for actions in _subparsers(command):
                actions_help = {each.dest: each.help or "" for each in actions._choices_actions}
                for action, parser_of_action in actions.choices.items():
                    found[name].append((action, actions_help.get(action, "")))
                    known = {word for word, _ in found[name]}
                    found[name] += [each for each in _options(parser_of_action) if each[0] not in known]
    return helps, found


def script(shell: str, helps: Mapping[str, str], words: Words) -> str:
    """The script that the shell reads."""
    if shell == "fish":
        return _fish(helps, words)
    bash = _bash(words)
    return (
        f"#compdef parquet-sink\nautoload -U +X bashcompinit && bashcompinit\n{bash}"
        if shell == "zsh"
        else bash
    )


def _bash(words: Words) -> str:
    cases = "\n".join(
        f'        {name}) words="{" ".join(word for word, _ in options)}" ;;'
        for name, options in words.items()
    )
    return f"""_parquet_sink() {{
    local word="${{COMP_WORDS[COMP_CWORD]}}" words
    if [ "$COMP_CWORD" -eq 1 ]; then
        COMPREPLY=($(compgen -W "{" ".join(words)} --help --version" -- "$word"))
        return
    fi
    case "${{COMP_WORDS[1]}}" in
{cases}
    esac
    if [ "$COMP_CWORD" -eq 2 ] || [ "${{word#-}}" != "$word" ]; then
        COMPREPLY=($(compgen -W "$words" -- "$word"))
    fi
}}
complete -o default -F _parquet_sink parquet-sink
"""


def _fish(helps: Mapping[str, str], words: Words) -> str:
    lines = []
    for name, options in words.items():
        lines.append(
            f"complete -c parquet-sink -n __fish_use_subcommand -a {name} -d {_quoted(helps.get(name, ''))}"
        )
        for word, text in options:
            kind = (
                f"-l {word[2:]}"
                if word.startswith("--")
                else f"-s {word[1:]}"
                if word[0] == "-"
                else f"-a {word}"
            )
            condition = f"'__fish_seen_subcommand_from {name}'"
            lines.append(f"complete -c parquet-sink -n {condition} {kind} -d {_quoted(text)}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _options(parser: argparse.ArgumentParser) -> list[tuple[str, str]]:
    found = []
    for action in parser._actions:
        text = action.help or ""
        found += [(option, text) for option in action.option_strings]
        if (
            not action.option_strings
            and action.choices
            and not isinstance(action, argparse._SubParsersAction)
        ):
            found += [(str(choice), "") for choice in action.choices]
    return found


def _subparsers(parser: argparse.ArgumentParser) -> "list[argparse._SubParsersAction[Any]]":
    return [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
