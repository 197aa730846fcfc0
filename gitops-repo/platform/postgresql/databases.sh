# For each user of /etc/users: the user with its password, and a database of its name. `kubeflow` has three, as its parts expect.
set -euo pipefail

databases_of() {
    case $1 in
        kubeflow) printf '%s\n' kubeflow mlpipeline cachedb mlmdpostgres ;;
        *) printf '%s\n' "$1" ;;
    esac
}

until pg_isready --quiet; do sleep 2; done
for file in /etc/users/*; do
    user=$(basename "$file")
    # The password goes in by a variable of psql, read from the file: it is in no process list.
    psql --quiet --set ON_ERROR_STOP=1 --set user="$user" <<SQL
\\set password \`cat $file\`
SELECT format('CREATE ROLE %I LOGIN', :'user') WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'user') \\gexec
SELECT format('ALTER ROLE %I PASSWORD %L', :'user', :'password') \\gexec
SQL
    for database in $(databases_of "$user"); do
        psql --quiet --set ON_ERROR_STOP=1 --set user="$user" --set database="$database" <<'SQL'
SELECT format('CREATE DATABASE %I OWNER %I', :'database', :'user') WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'database') \gexec
SQL
    done
done
