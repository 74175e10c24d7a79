#!/bin/bash
# The first process of a node: it leads mount and pid namespaces of its own, inside the node's network, and never ends by itself.
#   init.sh HOME      HOME: the node's folder, which has everything that it writes
set -eu
home=$1

mount --make-rshared /
mkdir -p "$home"/data/lib/{cni,kubelet} "$home"/logs/{pods,containers} "$home"/settings
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/containerd /run/lock
mount --bind "$home"/data/lib /var/lib
mount --bind "$home"/logs /var/log

# The kubelet demands these kernel settings, and would write them for the whole machine: it is shown files that have them already.
setting() {
  local file=$home/settings/${1//\//_}
  echo "$2" > "$file"
  mount --bind "$file" /proc/sys/"$1"
}
setting vm/overcommit_memory 1
setting vm/panic_on_oom 0
setting kernel/panic 10
setting kernel/panic_on_oops 1
setting kernel/keys/root_maxkeys 1000000
setting kernel/keys/root_maxbytes 25000000

ip link set lo up
echo 1 > /proc/sys/net/ipv4/ip_forward
touch "$home"/ready
while :; do wait || true; sleep 1; done # collects what ends here and has no parent any more
