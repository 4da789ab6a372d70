kv epoch_ns "$(date +%s%N)"
