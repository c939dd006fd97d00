#pragma once
// Rules that have been read become those of a namespace: named in the trace, with counters there, hung on the hooks.

#include "core/kernel/world.h"
#include "core/trace/trace.h"

namespace skbscope {

/// All rules of the namespace give way to these. Their counters begin at what the text says, as after `nft -f` and
/// `iptables-restore -c`; connections stay.
void install_rules(kernel::World& world, kernel::NetIndex net, kernel::NfRuleset rules, Trace& trace, bool apparmor);
/// Those of one engine give way to these (whose tables are all of that engine); the other's stay as they are, with
/// their counters.
void replace_rules(kernel::World& world, kernel::NetIndex net, kernel::NfTable::Engine engine, kernel::NfRuleset rules, Trace& trace, bool apparmor);

} // namespace skbscope
