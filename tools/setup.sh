# Finds or installs what building and testing need. Sourced by run.sh and test.sh; not a program of its own.
#
# System packages are installed with apt-get when we are root or sudo asks for no password; otherwise the exact command
# is printed. The Rust toolchain comes from rustup, because Debian's is older than the edition this package is written in.

RUST_VERSION_MIN=85 # the minor version of Rust 1.x that knows edition 2024
PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
export PATH

say() { echo "==> $*"; }

# Runs a command as root, if that is possible without asking.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
        sudo -n "$@"
    else
        return 1
    fi
}

# Installs Debian packages; fails, saying what to do, when that is not possible.
install_packages() {
    if command -v apt-get >/dev/null 2>&1; then
        say "installing $*"
        if as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@" >/dev/null 2>&1 ||
            { as_root apt-get update -q >/dev/null 2>&1 &&
                as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@" >/dev/null 2>&1; }; then
            return 0
        fi
    fi
    echo "Missing packages. Please install them, then run this again:" >&2
    echo "    sudo apt-get update && sudo apt-get install -y $*" >&2
    return 1
}

rust_is_new_enough() {
    command -v cargo >/dev/null 2>&1 || return 1
    minor=$(rustc --version 2>/dev/null | sed -n 's/^rustc 1\.\([0-9]*\)\..*/\1/p')
    [ -n "$minor" ] && [ "$minor" -ge "$RUST_VERSION_MIN" ]
}

# A C compiler, make and Rust. Exits with a message when something cannot be had.
need_build_tools() {
    missing=""
    command -v cc >/dev/null 2>&1 || missing="$missing gcc libc6-dev"
    command -v make >/dev/null 2>&1 || missing="$missing make"
    if ! rust_is_new_enough; then
        command -v curl >/dev/null 2>&1 || missing="$missing curl ca-certificates"
    fi
    if [ -n "$missing" ]; then
        # shellcheck disable=SC2086 # one word for each package
        install_packages $missing || exit 1
    fi
    if ! rust_is_new_enough; then
        say "installing the Rust toolchain with rustup (1.$RUST_VERSION_MIN or newer is needed)"
        if command -v rustup >/dev/null 2>&1; then
            rustup toolchain install stable --profile minimal && rustup default stable
        else
            curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y -q --profile minimal --no-modify-path
        fi
        if ! rust_is_new_enough; then
            echo "No Rust 1.$RUST_VERSION_MIN or newer. Please install it from https://rustup.rs, then run this again." >&2
            exit 1
        fi
    fi
}
