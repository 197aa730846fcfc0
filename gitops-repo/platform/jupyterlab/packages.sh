# Into the volume, so that a restart has them at once and works without a network: anew where a list has changed.
set -euo pipefail
start=${START:-/etc/start} marker=$HOME/.packages
if cat "$start"/requirements*.txt | cmp --silent - "$marker"; then exit; fi
# Uv finds versions that go together in seconds, where pip takes minutes.
python3 -m pip install --quiet --user uv==0.13.9
packages() { "$HOME/.local/bin/uv" pip install --quiet --no-config --system-certs "$@"; }
packages --python "$(command -v python3)" --prefix "$HOME/.local" --requirement "$start/requirements.txt"
# Katib's SDK and the one of Kubeflow Pipelines want different versions of the same packages: the second has a kernel of its own.
python3 -m venv "$HOME/.pipelines"
packages --python "$HOME/.pipelines/bin/python" --requirement "$start/requirements-pipeline.txt"
"$HOME/.pipelines/bin/python" -m ipykernel install --user --name pipelines --display-name 'Kubeflow Pipelines'
cat "$start"/requirements*.txt >"$marker"
