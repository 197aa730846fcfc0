# Into the volume, so that a restart has them at once and works without a network: anew where a list has changed, or this.
set -euo pipefail
start=${START:-/etc/start} marker=$HOME/.packages
lists() { cat "$start"/requirements*.txt "$start/packages.sh"; }
if lists | cmp --silent - "$marker"; then exit; fi
# Uv finds versions that go together in seconds, where pip takes minutes.
python3 -m pip install --quiet --user uv==0.13.9
packages() { "$HOME/.local/bin/uv" pip install --quiet --no-config --system-certs "$@"; }
# The kernel of notebooks, and the Python of terminals: as what serves the models that they log (`runtimes` in `kmlflow/kmlflow.yaml`), whatever the image
# has. Uv fetches it where it is missing.
"$HOME/.local/bin/uv" venv --quiet --no-config --system-certs --clear --python 3.11 "$HOME/.models"
packages --python "$HOME/.models/bin/python" --requirement "$start/requirements.txt"
"$HOME/.models/bin/python" -m ipykernel install --user --name python3 --display-name 'Python 3.11'
grep --quiet --no-messages --fixed-strings '/.models/bin' "$HOME/.profile" || printf 'PATH=$HOME/.models/bin:$PATH\n' >>"$HOME/.profile"
# Katib's SDK and the one of Kubeflow Pipelines want different versions of the same packages: the second has a kernel of its own.
python3 -m venv "$HOME/.pipelines"
packages --python "$HOME/.pipelines/bin/python" --requirement "$start/requirements-pipeline.txt"
"$HOME/.pipelines/bin/python" -m ipykernel install --user --name pipelines --display-name 'Kubeflow Pipelines'
lists >"$marker"
