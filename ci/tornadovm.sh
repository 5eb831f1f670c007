# Sourced by ./heddle and the scripts in ci/ after jdk.sh: finds TornadoVM, which is optional.
# Written for bash 3.2, so that macOS's own shell can read it.

# find_tornadovm: exports TORNADOVM_HOME as the folder of a TornadoVM for the JDK that find_jdk found, and sets
# `tornadovm` to the jar in it whose path tells its place and version. That is what TORNADOVM_HOME names, else what
# SDKMAN installed. Where it is none, both are empty and `no_tornadovm` is the reason.
find_tornadovm() {
  local folder=${TORNADOVM_HOME%/} named="TORNADOVM_HOME=$TORNADOVM_HOME" jars for_jdk
  if [ -z "$TORNADOVM_HOME" ]; then
    folder=${SDKMAN_CANDIDATES_DIR:-$HOME/.sdkman/candidates}/tornadovm/current named="SDKMAN's $folder"
  fi
  case $folder in /*) ;; *) folder=$PWD/$folder ;; esac
  jars=("$folder"/share/java/tornado/tornado-api-*.jar)
  tornadovm=${jars[0]} no_tornadovm=
  for_jdk=${tornadovm##*/} for_jdk=${for_jdk##*-jdk} for_jdk=${for_jdk%.jar}
  if [ -z "$TORNADOVM_HOME" ] && [ ! -e "$folder" ]; then
    no_tornadovm="TORNADOVM_HOME is not set, and SDKMAN has none at $folder"
  elif [ ! -f "$folder/tornado-argfile.template" ]; then
    no_tornadovm="$named is no TornadoVM: there is no tornado-argfile.template in it"
  elif [ ! -f "$tornadovm" ]; then
    no_tornadovm="$named is no TornadoVM: there is no share/java/tornado/tornado-api-*.jar in it"
  elif [[ $tornadovm = *-jdk$for_jdk.jar && $for_jdk != "$jdk_version" ]]; then
    no_tornadovm="$named is built for JDK $for_jdk, and Heddle runs on JDK $jdk_version"
  fi
  if [ -n "$no_tornadovm" ]; then
    tornadovm=
    unset TORNADOVM_HOME
  else
    export TORNADOVM_HOME="$folder"
  fi
}
