#pragma once
// The right side: what is selected, in four tabs. Follows the selection, and changes it when a line is clicked.

#include "ui/inspector/pages.h"

#include <QElapsedTimer>
#include <QWidget>

class QPushButton;
class QScrollArea;
class QStackedWidget;
class QTabBar;
class QTextBrowser;

namespace skbscope::ui {

class JourneyView;
class Label;
class PacketView;
class Session;
class SkbView;

class Inspector : public QWidget {
    Q_OBJECT

public:
    enum Tab { packet_tab, skb_tab, journey_tab, function_tab, host_tab };

    explicit Inspector(QWidget* parent = nullptr);
    void setSession(Session* session);
    /// Who knows why a packet was dropped.
    void setExplainer(ExplainDrop explain) { m_explain = std::move(explain); }
    void showTab(Tab tab);
    [[nodiscard]] Tab tab() const;
    /// The page of a setting: it is no part of the selection, so it is asked for.
    void showSetting(const QString& name);
    /// The page that says why the selected packet was dropped.
    void showDrop();
    /// What Ctrl+C copies: the packet with its bytes, or the journey, by the tab that is shown.
    [[nodiscard]] QString asText() const;

    // For tests: exactly what is on the screen.
    [[nodiscard]] QString titleText() const;
    [[nodiscard]] QString placeText() const;
    [[nodiscard]] SkbView* skb() const { return m_skb; }
    [[nodiscard]] JourneyView* journey() const { return m_journey; }
    [[nodiscard]] QString pageText() const;
    [[nodiscard]] QPushButton* whyButton() const { return m_why; } ///< hidden unless the packet has been dropped by now

signals:
    /// A command of a page is on the clipboard.
    void copied();

protected:
    void resizeEvent(QResizeEvent* event) override;

private:
    /// Brings the journey's current line into view, once the layout has settled.
    void followJourney();
    void onSelection();
    void refresh();
    void refreshHead();
    void refreshPage();
    void follow(const QString& link);

    Session* m_session = nullptr;
    QTabBar* m_tabs;
    QStackedWidget* m_pages;
    QWidget* m_head;
    Label* m_title;
    Label* m_place;
    QPushButton* m_why;
    PacketView* m_packet;
    SkbView* m_skb;
    QWidget* m_journeyPage;
    Label* m_journeySums;
    QScrollArea* m_journeyScroll;
    JourneyView* m_journey;
    QTextBrowser* m_page;
    QString m_pageKey;
    QString m_setting;
    ExplainDrop m_explain;
    bool m_dropWanted = false;
    QElapsedTimer m_hostClock;
    int m_packetTab = skb_tab; ///< the tab to go back to when a packet is selected again
};

} // namespace skbscope::ui
