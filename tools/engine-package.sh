# shellcheck shell=bash
# engine-package.sh - the pinned release of llama.cpp as npm carries it, and how its packages are fetched:
# read by tools/setup-engine and tools/setup-peer. No script of a package is ever run.
#
# The reader sets `me` (its name, for what it says), `root` (of this repository) and `scratch` (a folder
# that it removes itself). Functions end the program: 3 a tool is missing; 4 download failed (offline?);
# 5 what came is not what was pinned.
# shellcheck disable=SC2154 # me, root, scratch: the reader's

release=3.22.1 # of node-llama-cpp, that is llama.cpp v0.5.0: src/engine/llama_api.h pins the same
sources_sum=sha512-bltIipuWmc123H7tMIgDGKSsSrhmhlQYeVUC48XTjVW7XGJJiJJyCdlTMzQ/LiWoPkGDpcL4FviDpgw7qfTiDw==
download_limit_s=600 # for one package; npm's own limits are longer than a person waits
lockfile=$root/packaging/engine/package-lock.json

say() { printf '%s: %s\n' "$me" "$*"; }
die() { # STATUS TEXT...
    local status=$1
    shift
    printf "$me: %s\n" "$@" >&2
    exit "$status"
}

need() { # TOOL PACKAGE
    command -v "$1" >/dev/null || die 3 "$1 is missing. On Debian: apt-get install $2"
}

# Runs npm with what it says kept back, and turns its failures into ours.
run_npm() { # WHAT ARGUMENTS...
    local what=$1 said=$scratch/npm.log
    shift
    if ! timeout "$download_limit_s" npm --ignore-scripts --no-audit --no-fund --loglevel=error \
        "$@" >"$said" 2>&1; then
        head -n 4 "$said" >&2 # what failed; the rest is advice
        grep -q EINTEGRITY "$said" && die 5 "$what is not the package that was pinned."
        die 4 "could not get $what from the npm registry; is this machine offline?" \
            "Everything but models of llama.cpp works without it. Try again with: tools/$me"
    fi
}

sum_of() { # FILE, in npm's form
    printf 'sha512-'
    sha512sum "$1" | cut -c1-128 | tr a-f A-F | basenc --base16 -d | base64 -w0
}

locked_sum() { # PACKAGE: its integrity as the lockfile has it
    sed -n "\\|\"node_modules/$1\": {|,/}/ s/.*\"integrity\": \"\\(sha512-[^\"]*\\)\".*/\\1/p" "$lockfile"
}

fetch_package() { # NAME SUM FOLDER PATHS...: the package's (or those of its) files into FOLDER
    local name=$1 sum=$2 folder=$3 file got
    shift 3
    mkdir -p "$scratch/pack" "$folder"
    run_npm "$name@$release" pack "$name@$release" --pack-destination "$scratch/pack"
    file=$(find "$scratch/pack" -name '*.tgz' -print -quit)
    got=$(sum_of "$file")
    [[ $got == "$sum" ]] || die 5 "$name@$release is not the package that was pinned." \
        "  expected $sum" "  got      $got"
    tar -xzf "$file" -C "$folder" --strip-components=1 --no-same-owner "$@"
    rm -rf "$scratch/pack"
}

fetch_sources() { # FOLDER [PATHS...]: llama.cpp's sources (or those of them) into FOLDER
    local folder=$1
    shift
    need npm npm
    need git git
    fetch_package node-llama-cpp "$sources_sum" "$scratch/sources" package/llama/gitRelease.bundle
    git -c init.defaultBranch=main clone --quiet --bare "$scratch/sources/llama/gitRelease.bundle" \
        "$scratch/llama.git"
    mkdir -p "$folder"
    git -C "$scratch/llama.git" archive HEAD "$@" | tar -x -C "$folder"
    rm -rf "$scratch/sources" "$scratch/llama.git"
    [[ -f $folder/include/llama.h && -f $folder/ggml/include/ggml.h ]] ||
        die 5 "the sources in node-llama-cpp@$release have no llama.h."
}

move_in() { # NEW PLACE: the old one goes only once the new one is whole
    [[ ! -e $2 ]] || mv -T "$2" "$scratch/old.$(basename "$2")"
    mv -T "$1" "$2"
}

is_done() { # PLACE STAMP
    [[ -f $1/.stamp && $(<"$1/.stamp") == "$2" ]]
}
