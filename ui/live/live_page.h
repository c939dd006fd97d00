#pragma once
// Where a live source is chosen: whose kernel (this host's, or the modelled one behind a device of this host), device, filter, detail,
// budget, one button that may ask for a password; beside it what
// doctor says this host allows, with commands ready to copy for what it does not.

#include "ui/controls/centre_page.h"
#include "ui/live/live_request.h"

class QComboBox;
class QLineEdit;
class QPushButton;
class QSpinBox;
class QVBoxLayout;

namespace skbscope::ui {

class Label;

/// What doctor says, as far as the window shows it.
struct DoctorReport {
    struct Finding {
        QString piece, state, costs, remedy;
        bool available = false;
        bool remedyIsCommand = false;
    };
    QString says;   ///< one sentence
    QString host;   ///< "Linux 6.1.0 on x86_64, 2 CPUs"
    QString detail; ///< "functions", "probes", "tracepoints", "frames", "nothing"
    bool frames = false;
    std::vector<Finding> findings;
    /// Of the JSON that `skbscope doctor --format json` prints; missing keys are left empty. An error: no JSON object.
    static Result<DoctorReport> parse(const std::string& json);
};

class LivePage : public CentrePage {
    Q_OBJECT

public:
    explicit LivePage(QWidget* parent = nullptr);
    ~LivePage() override;
    void setServices(LiveServices services);
    /// Looks anew: devices, and what doctor says (on another thread).
    void refresh();
    void setReport(const Result<DoctorReport>& report);
    [[nodiscard]] LiveRequest request() const;

    // For tests.
    [[nodiscard]] QPushButton* startButton() const { return m_start; }
    [[nodiscard]] QComboBox* kernelOfBox() const { return m_of; }
    [[nodiscard]] QComboBox* modelBox() const { return m_kernel; }
    [[nodiscard]] QComboBox* detailBox() const { return m_detail; }
    [[nodiscard]] QComboBox* deviceBox() const { return m_device; }
    [[nodiscard]] QLineEdit* filterField() const { return m_filter; }
    [[nodiscard]] const std::vector<QPushButton*>& copyButtons() const { return m_copies; }
    [[nodiscard]] QString stateText() const;

signals:
    void startWanted(const skbscope::ui::LiveRequest& request);
    void copied(const QString& words);

private:
    struct Visit;
    [[nodiscard]] bool throughModel() const;
    void chooseKernel();
    void fillDevices();
    void showFindings();
    void refreshCommand();
    QWidget* commandRow(const QString& command, QWidget* parent);

    LiveServices m_services;
    std::shared_ptr<Visit> m_visit;
    bool m_asked = false; ///< doctor has answered
    DoctorReport m_report;
    QString m_trouble;
    QComboBox* m_of;
    QComboBox* m_kernel;
    Label* m_about;
    std::vector<std::string> m_devices;
    QComboBox* m_device;
    QLineEdit* m_filter;
    QComboBox* m_detail;
    QSpinBox* m_budget;
    QPushButton* m_start;
    Label* m_state;
    Label* m_why;
    QVBoxLayout* m_commandColumn;
    QWidget* m_command = nullptr;
    QVBoxLayout* m_findingColumn;
    QWidget* m_findings = nullptr;
    std::vector<QPushButton*> m_copies;
};

} // namespace skbscope::ui
