#include "ui/rules/rules_highlighter.h"

#include "ui/theme/theme.h"

#include <QRegularExpression>
#include <QSet>

namespace skbscope::ui {

namespace {

using Kind = RulesHighlighter::Kind;
using Language = TextKnob::Language;

const QSet<QString>& keywords(Language language)
{
    static const QSet<QString> nft{"table", "chain", "type", "hook", "priority", "policy", "ip", "ip6", "inet", "tcp", "udp", "icmp", "th", "meta", "ct",
                                   "iif", "oif", "iifname", "oifname", "saddr", "daddr", "sport", "dport", "protocol", "l4proto", "nfproto", "flags",
                                   "state", "mark", "set", "limit", "rate", "over", "burst", "packets", "bytes", "counter", "log", "prefix", "comment",
                                   "length", "ttl", "to", "with", "code", "pkttype", "fully-random", "random", "persistent"};
    static const QSet<QString> tcpdump{"and", "or", "not", "src", "dst", "host", "net", "port", "portrange", "ip", "ip6", "arp", "tcp", "udp", "icmp",
                                       "ether", "vlan", "proto", "greater", "less", "broadcast", "multicast", "len"};
    static const QSet<QString> none;
    return language == Language::nft ? nft : language == Language::tcpdump ? tcpdump : none;
}

} // namespace

RulesHighlighter::RulesHighlighter(QTextDocument* document) : QSyntaxHighlighter(document)
{
    connect(&Theme::instance(), &Theme::changed, this, &QSyntaxHighlighter::rehighlight);
}

void RulesHighlighter::setLanguage(TextKnob::Language language)
{
    if (language != m_language) {
        m_language = language;
        rehighlight();
    }
}

RulesHighlighter::Kind RulesHighlighter::kindOf(TextKnob::Language language, const QString& word)
{
    static const QSet<QString> verdicts{"accept", "jump", "goto", "return", "continue", "snat", "dnat", "masquerade", "redirect", "notrack",
                                        "ACCEPT", "RETURN", "SNAT", "DNAT", "MASQUERADE", "REDIRECT", "LOG", "MARK", "NOTRACK", "CT"};
    static const QSet<QString> refusals{"drop", "reject", "DROP", "REJECT"};
    static const QRegularExpression figure(QStringLiteral("^(0x[0-9a-fA-F]+|[0-9][0-9a-fA-F.:/,-]*|\".*\"?)$"));
    if (word.startsWith('#')) {
        return Kind::comment;
    }
    if (language != Language::tcpdump && refusals.contains(word)) {
        return Kind::refusal;
    }
    if (language != Language::tcpdump && verdicts.contains(word)) {
        return Kind::verdict;
    }
    if (figure.match(word).hasMatch()) {
        return Kind::value;
    }
    if (language == Language::iptables) {
        return word.startsWith('-') || word == QLatin1String("COMMIT") ? Kind::keyword
               : word.startsWith('*') || word.startsWith(':')          ? Kind::name
                                                                       : Kind::plain;
    }
    return keywords(language).contains(word) ? Kind::keyword : Kind::plain;
}

QTextCharFormat RulesHighlighter::format(Kind kind) const
{
    const Colors& c = Theme::instance().colors();
    QTextCharFormat format;
    switch (kind) {
    case Kind::keyword: format.setForeground(c.accent); break;
    case Kind::verdict:
        format.setForeground(c.good);
        format.setFontWeight(QFont::DemiBold);
        break;
    case Kind::refusal:
        format.setForeground(c.drop);
        format.setFontWeight(QFont::DemiBold);
        break;
    case Kind::value: format.setForeground(c.softirqText); break;
    case Kind::name: format.setFontWeight(QFont::DemiBold); break;
    case Kind::comment: format.setForeground(c.textMuted); break;
    case Kind::plain: break;
    }
    return format;
}

void RulesHighlighter::highlightBlock(const QString& line)
{
    static const QRegularExpression words(QStringLiteral("#.*$|\"[^\"]*\"?|[^\\s{};,()|&\"#]+"));
    for (auto match = words.globalMatch(line); match.hasNext();) {
        const QRegularExpressionMatch word = match.next();
        const Kind kind = kindOf(m_language, word.captured());
        if (kind != Kind::plain) {
            setFormat(static_cast<int>(word.capturedStart()), static_cast<int>(word.capturedLength()), format(kind));
        }
    }
}

} // namespace skbscope::ui
