"""fluxio_completion: names of pipelines and ids of runs at the press of the tab key."""

from __future__ import annotations

from collections.abc import Iterator

from django.core.management.base import CommandParser

from fluxio_django.management.command import FluxioCommand, Options
from fluxio_django.registry import pipelines
from fluxio_django.tables import Tables

_MOST = 200

# An id may hold what a shell would carry out, so every reply is quoted, and none is ever expanded.
SCRIPT = r"""# Completes names of pipelines and ids of runs after the fluxio commands of manage.py.
_fluxio_complete() {
  local at command="" kind="" name quoted prefix="" starting=""
  local current="${COMP_LINE:0:COMP_POINT}"
  current="${current##*[[:space:]]}"
  COMPREPLY=()
  for ((at = 1; at < COMP_CWORD; at++)); do
    [[ ${COMP_WORDS[at]} == fluxio_* ]] && { command="${COMP_WORDS[at]}"; break; }
  done
  case "$command" in
    fluxio_run | fluxio_explain) kind=pipelines ;;
    fluxio_cancel | fluxio_diff | fluxio_fork | fluxio_replay) kind=runs ;;
    fluxio_requeue | fluxio_resume | fluxio_show | fluxio_verify) kind=runs ;;
  esac
  if [[ -n $command && $current == --pipeline=* ]]; then
    kind=pipelines current="${current#--pipeline=}"
  elif [[ -n $command && ${COMP_WORDS[COMP_CWORD - 1]} == --pipeline ]]; then
    kind=pipelines
  elif [[ $current == -* ]]; then
    kind=""
  fi
  if [[ -z $kind ]]; then
    # Everything else is left to Django's own completion, where it is loaded.
    if [[ ${COMP_WORDS[0]##*/} == python* ]]; then
      declare -F _python_django_completion > /dev/null && _python_django_completion
    elif declare -F _django_completion > /dev/null; then
      _django_completion
    fi
    return
  fi
  local -a program=("${COMP_WORDS[@]:0:at}")
  program[0]="${program[0]/#\~/$HOME}"
  [[ $current =~ ^[A-Za-z0-9_.:-]*$ ]] && starting="$current"
  # Readline replaces what follows the last of these, not the whole word.
  [[ $current == *[:=]* ]] && prefix="${current%"${current##*[:=]}"}"
  while IFS= read -r name; do
    printf -v quoted %q "$name"
    [[ $quoted == "$current"* ]] && COMPREPLY+=("${quoted#"$prefix"}")
  done < <("${program[@]}" fluxio_completion --names "$kind" --starting="$starting" \
    2> /dev/null < /dev/null)
}
complete -o default -F _fluxio_complete manage.py django-admin python python3
"""


class Command(FluxioCommand):
    """Writes what a shell completes."""

    help = (
        "Write a script that makes bash complete names of pipelines and ids of runs. Load it with: "
        'eval "$(python manage.py fluxio_completion)"'
    )
    json_help = "Write the names as JSON, one object a line."
    closing_words = (
        "Load Django's own django_bash_completion before it, and options are completed, too."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """What the script asks for."""
        super().add_arguments(parser)
        parser.add_argument(
            "--names",
            choices=("pipelines", "runs"),
            help=f"Write names instead, one a line; of the runs, the newest {_MOST}.",
        )
        parser.add_argument(
            "--starting", default="", metavar="TEXT", help="Only names that begin with this."
        )

    def perform(self, options: Options) -> None:
        """Write the script or the names."""
        if options["names"] is None:
            self.terminal.lines(SCRIPT)
            return
        find = _pipelines if options["names"] == "pipelines" else _run_ids
        for name in find(options["starting"]):
            if options["json"]:
                self.terminal.json({"name": name})
            elif name.isprintable():
                self.terminal.line(name)


def _pipelines(starting: str) -> Iterator[str]:
    return (name for name in pipelines.names() if name.startswith(starting))


def _run_ids(starting: str) -> Iterator[str]:
    """The newest ids; the range is found in an index on every database."""
    if not (starting.isascii() and starting.isprintable()):
        return iter(())
    runs = Tables().runs.filter(run_id__gte=starting, run_id__lt=starting + "\x7f")
    return iter(runs.values_list("run_id", flat=True)[:_MOST])
