// net/netfilter/core.c: the five hooks. An empty table is not called at all (the kernel's static key skips it), so a
// hook without rules leaves no step of its own: the doors are here, and what hangs in them decides.

#include "core/kernel/functions.h"

namespace skbscope::kernel {

namespace {

/// nf_hook_ops: one registered function.
struct HookOps {
    int priority;
    bool (*hook)(Kernel&, SkbIndex);
};

/// Registered functions per hook, by priority. None yet: a host without rules.
constexpr std::span<const HookOps> hook_entries[5] = {};

void nf_hook_slow(Kernel& k, std::span<const HookOps> entries, SkbIndex skb, bool& accepted)
{
    Call call(k, fn::nf_hook_slow, skb);
    for (const HookOps& entry : entries) {
        if (!entry.hook(k, skb)) {
            accepted = false;
            return;
        }
    }
}

} // namespace

int nf_hook(Kernel& k, Pf, Hook hook, SkbIndex skb, DeviceIndex, DeviceIndex)
{
    const auto entries = hook_entries[static_cast<std::size_t>(hook)];
    bool accepted = true;
    if (!entries.empty()) {
        nf_hook_slow(k, entries, skb, accepted);
    }
    return accepted ? 1 : -1; // EPERM
}

} // namespace skbscope::kernel
