# Sourced by ./heddle and the scripts in ci/: finds a JDK that Heddle can be built and run with.
# Written for bash 3.2, so that macOS's own shell can read it.

# is_jdk25 DIR: whether DIR holds a JDK 25 or newer with the Vector API; sets `jdk_version` to its number. Reads its
# `release` file; no JVM starts.
is_jdk25() {
  [ -x "$1/bin/java" ] && [ -x "$1/bin/javac" ] && [ -r "$1/release" ] || return 1
  local line vector=yes
  jdk_version=0
  while IFS= read -r line || [ -n "$line" ]; do
    case $line in
      JAVA_VERSION=*)
        jdk_version=${line#JAVA_VERSION=}
        jdk_version=${jdk_version//\"/}
        jdk_version=${jdk_version%%[!0-9]*}
        ;;
      MODULES=*)
        case $line in *jdk.incubator.vector*) ;; *) vector=no ;; esac
        ;;
    esac
  done <"$1/release"
  [ "${jdk_version:-0}" -ge 25 ] && [ "$vector" = yes ]
}

# resolve_links FILE: prints FILE with every symbolic link followed (readlink -f is not everywhere).
resolve_links() {
  local file=$1 target
  while [ -L "$file" ]; do
    target=$(readlink "$file")
    case $target in
      /*) file=$target ;;
      *) file=${file%/*}/$target ;;
    esac
  done
  printf '%s\n' "$file"
}

# usual_jdk_folders: sets the array `folders` to where systems and tools put their JDKs.
usual_jdk_folders() {
  folders=(
    /usr/lib/jvm/* /usr/lib64/jvm/* /usr/java/* /usr/local/openjdk* /opt/* /opt/java/*
    "$HOME"/.sdkman/candidates/java/* "$HOME"/.jdks/* "$HOME"/.asdf/installs/java/*
    "$HOME"/.local/share/mise/installs/java/*
    /Library/Java/JavaVirtualMachines/*/Contents/Home
    "$HOME"/Library/Java/JavaVirtualMachines/*/Contents/Home
    /opt/homebrew/opt/openjdk*/libexec/openjdk.jdk/Contents/Home
    /usr/local/opt/openjdk*/libexec/openjdk.jdk/Contents/Home
  )
}

# find_jdk: exports JAVA_HOME as the first suitable JDK among JAVA_HOME, the PATH and the usual folders, and leaves
# `jdk_version` at its number; fails with one sentence on standard error when there is none.
find_jdk() {
  local on_path folders folder
  on_path=$(command -v java) && on_path=$(resolve_links "$on_path")
  usual_jdk_folders
  for folder in "$JAVA_HOME" "${on_path%/bin/java}" "${folders[@]}"; do
    if is_jdk25 "$folder"; then
      export JAVA_HOME="$folder"
      return 0
    fi
  done
  echo "Heddle needs a JDK 25 or newer, and found none in JAVA_HOME, on the PATH or in the usual folders:" \
    "install one (for example Eclipse Temurin 25, https://adoptium.net) or set JAVA_HOME to it." >&2
  return 1
}

# need_maven: fails with one sentence on standard error when mvn is not on the PATH.
need_maven() {
  command -v mvn >/dev/null 2>&1 && return 0
  echo "Heddle needs Maven 3.8.7 or newer to build, and found no mvn on the PATH:" \
    "install it (for example: apt-get install maven, dnf install maven, brew install maven)." >&2
  return 1
}
