"""What makes each alert of the release service and of the platform fire and end: series by the minute, and when it must fire and must not.

A series is written as promtool takes it: `1+2x3` is 1, 3, 5, 7; `_` is no sample. A metric that is not named here has no samples.
"""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass
class Case:
    alert: str
    series: dict[str, str]
    fires: int
    ends: int


SERVICE = [
    Case("ReleaseServiceDown", {"kmlflow_leads": "_x15 1x60"}, 10, 40),
    Case("ReleaseServiceWithoutLeader", {'kmlflow_leads{pod="a"}': "0x10 1x30", 'kmlflow_leads{pod="b"}': "0x40"}, 8, 20),
    Case("ReleaseServiceWithoutLease", {'kmlflow_lease_held{lease="kmlflow",pod="a"}': "0x20 1x40", 'kmlflow_lease_held{lease="kmlflow",pod="b"}': "0x60"}, 10, 40),
    Case("ReleaseServiceInboxFull", {'kmlflow_inbox_depth{state="accepted",pod="a"}': "60000x20 10x40", 'kmlflow_inbox_depth{state="accepted",pod="b"}': "60000x20 10x40"}, 10, 40),
    Case("ReleaseServicePushesFail", {'kmlflow_push_total{outcome="failed"}': "0+2x20 40x40", 'kmlflow_push_total{outcome="pushed"}': "5x20 5+3x40"}, 15, 50),
    Case("ReleaseServiceRemoteRefuses", {'kmlflow_push_total{outcome="refused"}': "0x5 1x60"}, 10, 40),
    Case("ReleaseServiceDeliveriesFail", {'kmlflow_deliveries_total{source="mlflow",outcome="failed"}': "0+1x40 40x60"}, 30, 80),
    Case(
        "ReleaseServiceSlowPush",
        {'kmlflow_push_duration_seconds_bucket{le="3.2768"}': "0x30 0+100x60", 'kmlflow_push_duration_seconds_bucket{le="13.1072"}': "0+100x90", 'kmlflow_push_duration_seconds_bucket{le="+Inf"}': "0+100x90"},
        25,
        70,
    ),
    Case("ReleasesNotLive", {'kmlflow_releases{environment="production",strategy="single",phase="settled",status="stalled"}': "2x20 _x40", 'kmlflow_releases{environment="production",strategy="single",phase="settled",status="live"}': "5x60"}, 10, 40),
    Case("ReleasesNeedAPerson", {'kmlflow_releases{environment="production",strategy="single",phase="settled",status="drifted"}': "1x60 _x60"}, 40, 90),
    Case("ReleasesRemoved", {'kmlflow_releases_removed_total{environment="production",pod="a"}': "0x5 12x60", 'kmlflow_releases_removed_total{environment="staging",pod="a"}': "0+1x5 6x60"}, 10, 40),
    Case("ReleaseServiceVolumeFills", {'kubelet_volume_stats_used_bytes{namespace="k5w",persistentvolumeclaim="data-kmlflow-0"}': "90x40 50x60", 'kubelet_volume_stats_capacity_bytes{namespace="k5w",persistentvolumeclaim="data-kmlflow-0"}': "100x100"}, 30, 80),
]

PLATFORM = [
    Case("PlatformTargetDown", {'up{job="mlflow",instance="a"}': "0x30 1x60", 'up{job="other",instance="b"}': "1x90"}, 20, 60),
    Case("PlatformApplicationUnhealthy", {'argocd_app_info{name="mlflow",project="platform",health_status="Degraded",sync_status="Synced"}': "1x30 _x60"}, 20, 60),
    Case("PlatformApplicationNotSynced", {'argocd_app_info{name="mlflow",project="platform",health_status="Healthy",sync_status="OutOfSync"}': "1x30 _x60"}, 25, 60),
    Case("PlatformOperatorAbsent", {'up{namespace="seldon-system"}': "0x20 1x60"}, 10, 50),
    Case("PlatformOperatorFails", {'controller_runtime_reconcile_errors_total{namespace="seldon-system"}': "0+6x40 240x60"}, 30, 80),
    Case("PlatformGatewayErrors", {'envoy_http_downstream_rq_xx{envoy_response_code_class="5"}': "0+60x30 1800x60", 'envoy_http_downstream_rq_xx{envoy_response_code_class="2"}': "0+540x90"}, 20, 60),
    Case("PlatformRestarts", {'kube_pod_container_status_restarts_total{namespace="storage",pod="postgres-0",container="postgres"}': "0+1x20 20x90"}, 20, 80),
    Case("PlatformVolumeFills", {'kubelet_volume_stats_used_bytes{namespace="storage",persistentvolumeclaim="objects"}': "95x40 50x60", 'kubelet_volume_stats_capacity_bytes{namespace="storage",persistentvolumeclaim="objects"}': "100x100"}, 30, 80),
    Case("PlatformRuleFails", {'prometheus_rule_evaluation_failures_total{rule_group="kmlflow.platform"}': "0+1x20 20x60"}, 20, 60),
]
