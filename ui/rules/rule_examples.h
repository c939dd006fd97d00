#pragma once
// Examples that a person may put into a text of rules, with addresses, ports and devices of what is open.

#include "core/trace/source.h"

#include <QString>
#include <vector>

namespace skbscope::ui {

/// What the examples speak of.
struct ExampleFacts {
    QString protocol = QStringLiteral("udp");
    int port = 5001;
    QString source = QStringLiteral("10.99.0.1");
    QString destination = QStringLiteral("10.99.0.2");
    QString out = QStringLiteral("eth0"); ///< the device that packets leave by
};

/// From the packet, else from the first one that names its ends; what is not known stays as above.
[[nodiscard]] ExampleFacts factsOf(const Trace& trace, PacketId packet);

struct RuleExample {
    QString title; ///< "Drop a port"
    QString table; ///< iptables: the table that the lines belong to
    QString text;  ///< nft: a whole table; iptables: lines of a table; tcpdump: an expression
};

[[nodiscard]] std::vector<RuleExample> examplesFor(TextKnob::Language language, const ExampleFacts& facts);

/// The text with the example in it, where its reader takes it: an nft table at the end, under a name that is still free; iptables'
/// lines before the COMMIT of their table, which is made if it is not there; an expression alone.
[[nodiscard]] QString withExample(TextKnob::Language language, const QString& text, const RuleExample& example);

} // namespace skbscope::ui
