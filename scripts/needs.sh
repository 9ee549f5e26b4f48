# Installs what a script needs with the system's package manager. Sourced, not run.
#
#   need COMMAND PACKAGE     installs PACKAGE unless COMMAND is there
#   need_fuse                fails unless the kernel offers /dev/fuse
#   need_rust                fails unless cargo is there

apt_lists_fresh=no

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        echo "error: This step needs root and sudo is missing: $*" >&2
        return 1
    fi
}

install_package() {
    if ! command -v apt-get >/dev/null; then
        echo "error: $1 is missing and there is no apt-get; install it with your package manager" >&2
        return 1
    fi
    if [ "$apt_lists_fresh" = no ]; then
        as_root apt-get update -qq
        apt_lists_fresh=yes
    fi
    echo "Installing $1"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$1" >/dev/null
}

need() {
    command -v "$1" >/dev/null || install_package "$2"
    command -v "$1" >/dev/null || {
        echo "error: $2 is installed but $1 is not found" >&2
        return 1
    }
}

need_fuse() {
    need fusermount3 fuse3
    [ -e /dev/fuse ] || as_root modprobe fuse 2>/dev/null || true
    [ -e /dev/fuse ] || {
        echo "error: The kernel offers no /dev/fuse; load the module fuse, or start the container with --device /dev/fuse --cap-add SYS_ADMIN" >&2
        return 1
    }
}

need_rust() {
    [ -d "${CARGO_HOME:-$HOME/.cargo}/bin" ] && PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
    command -v cargo >/dev/null || {
        echo "error: Rust is missing; install it from https://rustup.rs" >&2
        return 1
    }
    need cc build-essential
}
