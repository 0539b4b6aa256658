# Short names for common commands. `just` alone lists them. Nothing needs just: each recipe is one command.

set positional-arguments

# List the recipes.
default:
    @just --list

# Build the workspace.
build *args:
    cargo build --workspace --locked "$@"

# Run every test, or those that match, e.g. `just test -p rate-limiter`.
test *args:
    ./scripts/quick_test.sh "$@"

# Check format, lints, docs, imports, sizes, shell scripts, dependencies and links.
lint *args:
    ./scripts/validate_code.sh "$@"

# Start Redis and both services, mint a demo batch and scan one of its tags.
dev *args:
    ./scripts/dev_up.sh "$@"

# Stop what `just dev` started.
down *args:
    ./scripts/dev_down.sh "$@"

# Print one table of figures, each with its baseline from the same run.
bench *args:
    ./scripts/bench.sh "$@"

# Run what a change must pass before it lands.
ci:
    bash .ci/run
