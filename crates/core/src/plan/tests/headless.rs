//! Headless Services through a gateway (conformance A1.2, A8, F29-F31).
use insta::assert_snapshot;

use super::{planned, replanned};

const LINK: &str = "
    ns eptest
    link remote gateway=192.0.2.129:889 identity=gateway-identity
";

fn with(lines: &str) -> String {
    format!("{LINK}{lines}")
}

#[test]
fn each_named_host_becomes_a_service_behind_the_gateway() {
    // A1.2
    assert_snapshot!(planned(&with(
        "export remote eptest/two rv=111 slice-rv=112 @m/exported=true @lk=lv #a=b headless hosts=pod-0 ports=port1:555"
    )), @r"
    create Service eptest/pod-0-remote
      @lk=lv @m/cluster-name=remote @m/headless-mirror-svc-name=two-remote @m/mirrored-service=true
      #m/remote-resource-version=112 #m/remote-svc-fq-name=pod-0.two.eptest.svc.cluster.local
      port1:555
    create EndpointSlice eptest/pod-0-remote.ipv4
      @endpointslice.kubernetes.io/managed-by=tombolo @kubernetes.io/service-name=pod-0-remote @lk=lv @m/cluster-name=remote @m/headless-mirror-svc-name=two-remote @m/mirrored-service=true
      #m/remote-gateway-identity=gateway-identity #m/remote-svc-fq-name=pod-0.two.eptest.svc.cluster.local
      port1:889 -> [192.0.2.129 Ready]
    create Service eptest/two-remote headless
      @lk=lv @m/cluster-name=remote @m/mirrored-service=true
      #a=b #m/remote-resource-version=111 #m/remote-svc-fq-name=two.eptest.svc.cluster.local
      port1:555
    create EndpointSlice eptest/two-remote.ipv4
      @endpointslice.kubernetes.io/managed-by=tombolo @kubernetes.io/service-name=two-remote @lk=lv @m/cluster-name=remote @m/mirrored-service=true
      #m/remote-gateway-identity=gateway-identity #m/remote-svc-fq-name=two.eptest.svc.cluster.local
      port1:555 -> []
    remote: GatewayAlive=Unknown (NotProbed)
      mirror eptest/two -> eptest/two-remote
    then
    change EndpointSlice eptest/two-remote.ipv4
      @endpointslice.kubernetes.io/managed-by=tombolo @kubernetes.io/service-name=two-remote @lk=lv @m/cluster-name=remote @m/mirrored-service=true
      #m/remote-gateway-identity=gateway-identity #m/remote-svc-fq-name=two.eptest.svc.cluster.local
      port1:555 -> [pod-0=10.96.0.35 Ready]
    remote: GatewayAlive=Unknown (NotProbed)
      mirror eptest/two -> eptest/two-remote
    ");
}

#[test]
fn a_second_host_joins_and_the_first_stays_as_it_is() {
    // A8
    let before =
        with("export remote eptest/two @m/exported=true headless hosts=pod-0 slice-rv=333");
    let now =
        with("export remote eptest/two @m/exported=true headless hosts=pod-0,pod-1 slice-rv=112");
    assert_snapshot!(replanned(&before, &now), @r"
    create Service eptest/pod-1-remote
      @m/cluster-name=remote @m/headless-mirror-svc-name=two-remote @m/mirrored-service=true
      #m/remote-resource-version=112 #m/remote-svc-fq-name=pod-1.two.eptest.svc.cluster.local
      http:80
    create EndpointSlice eptest/pod-1-remote.ipv4
      @endpointslice.kubernetes.io/managed-by=tombolo @kubernetes.io/service-name=pod-1-remote @m/cluster-name=remote @m/headless-mirror-svc-name=two-remote @m/mirrored-service=true
      #m/remote-gateway-identity=gateway-identity #m/remote-svc-fq-name=pod-1.two.eptest.svc.cluster.local
      http:889 -> [192.0.2.129 Ready]
    change EndpointSlice eptest/two-remote.ipv4
      @endpointslice.kubernetes.io/managed-by=tombolo @kubernetes.io/service-name=two-remote @m/cluster-name=remote @m/mirrored-service=true
      #m/remote-gateway-identity=gateway-identity #m/remote-svc-fq-name=two.eptest.svc.cluster.local
      http:80 -> [pod-0=10.96.0.35 Ready]
    remote: GatewayAlive=Unknown (NotProbed)
      mirror eptest/two -> eptest/two-remote
    then
    change EndpointSlice eptest/two-remote.ipv4
      @endpointslice.kubernetes.io/managed-by=tombolo @kubernetes.io/service-name=two-remote @m/cluster-name=remote @m/mirrored-service=true
      #m/remote-gateway-identity=gateway-identity #m/remote-svc-fq-name=two.eptest.svc.cluster.local
      http:80 -> [pod-0=10.96.0.35 Ready, pod-1=10.96.0.200 Ready]
    remote: GatewayAlive=Unknown (NotProbed)
      mirror eptest/two -> eptest/two-remote
    ");
}

#[test]
fn a_host_that_is_down_keeps_its_name_and_its_address() {
    // F31
    let before = with("export remote eptest/two @m/exported=true headless hosts=pod-0,pod-1");
    let now = with("export remote eptest/two @m/exported=true headless hosts=pod-0,pod-1:down");
    let text = replanned(&before, &now);
    assert!(
        text.contains("pod-0=10.96.0.") && text.contains("NotReady"),
        "{text}"
    );
    assert!(!text.contains("delete"), "{text}");
}

#[test]
fn a_host_that_goes_takes_its_service_with_it() {
    let before = with("export remote eptest/two @m/exported=true headless hosts=pod-0,pod-1");
    let now = with("export remote eptest/two @m/exported=true headless hosts=pod-0");
    let text = replanned(&before, &now);
    assert!(
        text.contains("delete Service eptest/pod-1-remote"),
        "{text}"
    );
    assert!(
        !text.contains("delete Service eptest/pod-0-remote"),
        "{text}"
    );
}

#[test]
fn an_unexported_headless_service_takes_its_hosts_with_it() {
    let before = with("export remote eptest/two @m/exported=true headless hosts=pod-0");
    let text = replanned(&before, &with(""));
    for name in ["pod-0-remote", "two-remote"] {
        assert!(
            text.contains(&format!("delete Service eptest/{name}")),
            "{text}"
        );
    }
}

#[test]
fn endpoints_without_names_make_an_ordinary_mirror() {
    let text = planned(&with(
        "export remote eptest/two @m/exported=true headless nameless",
    ));
    assert!(
        text.contains("create Service eptest/two-remote\n"),
        "{text}"
    );
    assert!(text.contains("http:889 -> [192.0.2.129 Ready]"), "{text}");
}

#[test]
fn an_ordinary_mirror_becomes_a_headless_one_by_being_made_anew() {
    let before = with("export remote eptest/two @m/exported=true headless nameless");
    let now = with("export remote eptest/two @m/exported=true headless hosts=pod-0");
    let text = replanned(&before, &now);
    assert!(text.contains("delete Service eptest/two-remote"), "{text}");
    assert!(
        text.contains("create Service eptest/two-remote headless"),
        "{text}"
    );
}

#[test]
fn a_flat_headless_service_is_an_ordinary_flat_mirror() {
    // F29
    let text = planned(&with(
        "export remote eptest/two @m/exported=remote-discovery headless hosts=pod-0",
    ));
    assert!(
        text.contains("create Service eptest/two-remote\n") && !text.contains("pod-0"),
        "{text}"
    );
}

#[test]
fn a_host_whose_name_is_taken_is_left_out_and_said() {
    let text = planned(&with(
        "
        export remote eptest/one @m/exported=true headless hosts=pod-0
        export remote eptest/two @m/exported=true headless hosts=pod-0,pod-1
    ",
    ));
    assert!(
        text.contains("! Link mc/remote: NameConflict: Skipped mirroring host pod-0 of eptest/two"),
        "{text}"
    );
    assert!(
        text.contains("create Service eptest/pod-1-remote"),
        "{text}"
    );
}

#[test]
fn a_mirror_that_is_kept_keeps_its_hosts() {
    let before = with("export remote eptest/two @m/exported=true headless hosts=pod-0");
    let text = replanned(
        &before,
        "
        ns eptest
        link remote gateway=192.0.2.129:889 identity=gateway-identity unknown
    ",
    );
    assert!(!text.contains("delete"), "{text}");
    assert_eq!(text.matches("mirror eptest/").count(), 1, "{text}");
}
