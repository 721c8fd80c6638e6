//! Mirrors: through the gateway and flat (conformance A1, A2, A5-A7, A10-A13, F1, F10, F11, F22-F25, F32, F41).
use insta::assert_snapshot;

use super::{planned, replanned};

const LINK: &str = "
    ns ns1
    link remote gateway=192.0.2.127:888 identity=gateway-identity
";

fn with(lines: &str) -> String {
    format!("{LINK}{lines}")
}

#[test]
fn a_gateway_export_becomes_a_service_and_a_slice() {
    // A1.1
    assert_snapshot!(planned(&with("export remote ns1/service-one rv=111 @m/exported=true @lk=lv ports=port1:555,port2:666")), @r"
    create Service ns1/service-one-remote
      @lk=lv @m/cluster-name=remote @m/mirrored-service=true
      #m/remote-resource-version=111 #m/remote-svc-fq-name=service-one.ns1.svc.cluster.local
      port1:555 port2:666
    create EndpointSlice ns1/service-one-remote.ipv4
      @endpointslice.kubernetes.io/managed-by=tombolo @kubernetes.io/service-name=service-one-remote @lk=lv @m/cluster-name=remote @m/mirrored-service=true
      #m/remote-gateway-identity=gateway-identity #m/remote-svc-fq-name=service-one.ns1.svc.cluster.local
      port1:888 port2:888 -> [192.0.2.127 Ready]
    remote: GatewayAlive=Unknown (NotProbed)
      mirror ns1/service-one -> ns1/service-one-remote
    ");
}

#[test]
fn a_flat_export_becomes_a_service_that_discovery_follows() {
    // A1.3
    assert_snapshot!(planned(&with("export remote ns1/service-one rv=111 @m/exported=remote-discovery ports=port1:555,port2:666")), @r"
    create Service ns1/service-one-remote
      @m/cluster-name=remote @m/mirrored-service=true @mc/remote-discovery=remote @mc/remote-service=service-one
      #m/remote-resource-version=111 #m/remote-svc-fq-name=service-one.ns1.svc.cluster.local
      port1:555 port2:666
    remote: GatewayAlive=Unknown (NotProbed)
      mirror ns1/service-one -> ns1/service-one-remote
    ");
}

#[test]
fn a_link_without_gateway_mirrors_flat_and_an_empty_selector_matches_nothing() {
    // A1.4, A7.2
    assert_snapshot!(planned("
        ns ns1
        link remote select=none
        export remote ns1/service-one @m/exported=remote-discovery
        export remote ns1/service-two @m/exported=true
    "), @r"
    create Service ns1/service-one-remote
      @m/cluster-name=remote @m/mirrored-service=true @mc/remote-discovery=remote @mc/remote-service=service-one
      #m/remote-resource-version=1 #m/remote-svc-fq-name=service-one.ns1.svc.cluster.local
      http:80
    remote:
      mirror ns1/service-one -> ns1/service-one-remote
    ");
}

#[test]
fn an_empty_flat_selector_leaves_the_gateway_mode() {
    // A7.1: without gateway addresses the mirror exists and has no endpoints.
    assert_snapshot!(planned("
        ns ns1
        link remote flat=none
        export remote ns1/service-one @m/exported=true ports=default1:555,default2:666
        export remote ns1/service-two @m/exported=remote-discovery ports=remote1:777,remote2:888
    "), @r"
    create Service ns1/service-one-remote
      @m/cluster-name=remote @m/mirrored-service=true
      #m/remote-resource-version=1 #m/remote-svc-fq-name=service-one.ns1.svc.cluster.local
      default1:555 default2:666
    create EndpointSlice ns1/service-one-remote.ipv4
      @endpointslice.kubernetes.io/managed-by=tombolo @kubernetes.io/service-name=service-one-remote @m/cluster-name=remote @m/mirrored-service=true
      #m/remote-svc-fq-name=service-one.ns1.svc.cluster.local
       -> []
    remote: GatewayAlive=False (NoGateway: spec.gatewayAddress is empty, so mirrors through it have no endpoints)
      mirror ns1/service-one -> none Mirrored=False (Error: Failed to create mirror endpoints: spec.gatewayAddress of the Link is empty)
    ");
}

#[test]
fn without_any_selector_nothing_is_mirrored() {
    // A7.3
    assert_snapshot!(planned("
        ns ns1
        link remote select=none flat=none fed=none
        export remote ns1/service-one @m/exported=true
        export remote ns1/service-two @m/exported=remote-discovery
        export remote ns1/service-three @m/federated=member
        export remote ns1/service-four @m/exported=banana
    "), @"remote: Accepted=True (NothingSelected: spec.selector, spec.remoteDiscoverySelector and spec.federatedServiceSelector are empty, so nothing is mirrored: an empty selector matches nothing)");
}

#[test]
fn one_link_serves_all_three_modes_at_once() {
    assert_snapshot!(planned(&with("
        export remote ns1/a @m/exported=true @m/federated=member
        export remote ns1/b @m/exported=remote-discovery
    ")), @r"
    create Service ns1/a-federated
      @m/mirrored-service=true
      #mc/remote-discovery=a@remote
      http:80
    create Service ns1/a-remote
      @m/cluster-name=remote @m/mirrored-service=true
      #m/remote-resource-version=1 #m/remote-svc-fq-name=a.ns1.svc.cluster.local
      http:80
    create EndpointSlice ns1/a-remote.ipv4
      @endpointslice.kubernetes.io/managed-by=tombolo @kubernetes.io/service-name=a-remote @m/cluster-name=remote @m/mirrored-service=true
      #m/remote-gateway-identity=gateway-identity #m/remote-svc-fq-name=a.ns1.svc.cluster.local
      http:888 -> [192.0.2.127 Ready]
    create Service ns1/b-remote
      @m/cluster-name=remote @m/mirrored-service=true @mc/remote-discovery=remote @mc/remote-service=b
      #m/remote-resource-version=1 #m/remote-svc-fq-name=b.ns1.svc.cluster.local
      http:80
    remote: GatewayAlive=Unknown (NotProbed)
      mirror ns1/a -> ns1/a-remote
      mirror ns1/b -> ns1/b-remote
      member ns1/a -> ns1/a-federated
    ");
}

#[test]
fn flat_wins_where_both_selectors_match() {
    assert_snapshot!(planned("
        ns ns1
        link remote gateway=192.0.2.127:888 select=app=web flat=app=web
        export remote ns1/a @app=web
    "), @r"
    create Service ns1/a-remote
      @app=web @m/cluster-name=remote @m/mirrored-service=true @mc/remote-discovery=remote @mc/remote-service=a
      #m/remote-resource-version=1 #m/remote-svc-fq-name=a.ns1.svc.cluster.local
      http:80
    remote: GatewayAlive=Unknown (NotProbed)
      mirror ns1/a -> ns1/a-remote
    ");
}

#[test]
fn a_missing_namespace_is_said_and_healed_when_it_appears() {
    // A2
    let without = "
        link remote gateway=192.0.2.127:888
        export remote ns1/service-one rv=111 @m/exported=true @m/federated=member
    ";
    assert_snapshot!(planned(without), @r"
    remote: GatewayAlive=Unknown (NotProbed)
      mirror ns1/service-one -> none Mirrored=False (MissingNamespace: Namespace does not exist)
      member ns1/service-one -> none Mirrored=False (MissingNamespace: Namespace does not exist)
    ! Link mc/remote: MissingNamespace: Skipped mirroring service: namespace does not exist (ns1/service-one)
    ");
    assert_snapshot!(replanned(without, &format!("ns ns1\n{without}")), @r"
    create Service ns1/service-one-federated
      @m/mirrored-service=true
      #mc/remote-discovery=service-one@remote
      http:80
    create Service ns1/service-one-remote
      @m/cluster-name=remote @m/mirrored-service=true
      #m/remote-resource-version=111 #m/remote-svc-fq-name=service-one.ns1.svc.cluster.local
      http:80
    create EndpointSlice ns1/service-one-remote.ipv4
      @endpointslice.kubernetes.io/managed-by=tombolo @kubernetes.io/service-name=service-one-remote @m/cluster-name=remote @m/mirrored-service=true
      #m/remote-svc-fq-name=service-one.ns1.svc.cluster.local
      http:888 -> [192.0.2.127 Ready]
    remote: GatewayAlive=Unknown (NotProbed)
      mirror ns1/service-one -> ns1/service-one-remote
      member ns1/service-one -> ns1/service-one-federated
    ");
}

#[test]
fn an_unexported_service_leaves() {
    // A5, A12d, A13a, F11: deleted, or its label gone; the status entry goes too.
    let before = with("export remote ns1/service-one @m/exported=true");
    assert_snapshot!(replanned(&before, LINK), @r"
    delete Service ns1/service-one-remote (uid-of-ns1/service-one-remote)
    delete EndpointSlice ns1/service-one-remote.ipv4 (uid-of-ns1/service-one-remote)
    remote: GatewayAlive=Unknown (NotProbed)
    ");
    let unlabelled = with("export remote ns1/service-one @other=label");
    assert_eq!(replanned(&before, &unlabelled), replanned(&before, LINK));
}

#[test]
fn an_update_of_the_export_updates_the_mirror_and_its_ports() {
    // A6, A12b
    assert_snapshot!(replanned(
        &with("export remote ns1/s rv=past @m/exported=true ports=port1:111,port2:222,port3:333"),
        &with("export remote ns1/s rv=now @m/exported=true ports=port1:111,port3:333"),
    ), @r"
    change EndpointSlice ns1/s-remote.ipv4
      @endpointslice.kubernetes.io/managed-by=tombolo @kubernetes.io/service-name=s-remote @m/cluster-name=remote @m/mirrored-service=true
      #m/remote-gateway-identity=gateway-identity #m/remote-svc-fq-name=s.ns1.svc.cluster.local
      port1:888 port3:888 -> [192.0.2.127 Ready]
    change Service ns1/s-remote
      @m/cluster-name=remote @m/mirrored-service=true
      #m/remote-resource-version=now #m/remote-svc-fq-name=s.ns1.svc.cluster.local
      port1:111 port3:333
    remote: GatewayAlive=Unknown (NotProbed)
      mirror ns1/s -> ns1/s-remote
    ");
}

#[test]
fn a_steady_world_is_left_alone() {
    // A12c, F32
    let steady =
        with("export remote ns1/s rv=7 @m/exported=true\nexport remote ns1/t @m/federated=member");
    assert_snapshot!(replanned(&steady, &steady), @r"
    remote: GatewayAlive=Unknown (NotProbed)
      mirror ns1/s -> ns1/s-remote
      member ns1/t -> ns1/t-federated
    ");
}

#[test]
fn ports_in_another_order_are_no_difference() {
    let ports = |list| {
        with(&format!(
            "export remote ns1/s @m/exported=true ports={list}"
        ))
    };
    assert_snapshot!(replanned(&ports("a:1,b:2"), &ports("b:2,a:1")), @r"
    remote: GatewayAlive=Unknown (NotProbed)
      mirror ns1/s -> ns1/s-remote
    ");
}

#[test]
fn an_export_without_ready_endpoints_keeps_its_shape() {
    // F1
    let ready = with("export remote ns1/s @m/exported=true");
    let empty = with("export remote ns1/s @m/exported=true empty");
    assert_snapshot!(replanned(&ready, &empty), @r"
    change EndpointSlice ns1/s-remote.ipv4
      @endpointslice.kubernetes.io/managed-by=tombolo @kubernetes.io/service-name=s-remote @m/cluster-name=remote @m/mirrored-service=true
      #m/remote-gateway-identity=gateway-identity #m/remote-svc-fq-name=s.ns1.svc.cluster.local
      http:888 -> []
    remote: GatewayAlive=Unknown (NotProbed)
      mirror ns1/s -> ns1/s-remote
    ");
    assert_snapshot!(replanned(&empty, &ready), @r"
    change EndpointSlice ns1/s-remote.ipv4
      @endpointslice.kubernetes.io/managed-by=tombolo @kubernetes.io/service-name=s-remote @m/cluster-name=remote @m/mirrored-service=true
      #m/remote-gateway-identity=gateway-identity #m/remote-svc-fq-name=s.ns1.svc.cluster.local
      http:888 -> [192.0.2.127 Ready]
    remote: GatewayAlive=Unknown (NotProbed)
      mirror ns1/s -> ns1/s-remote
    ");
}

#[test]
fn a_gateway_that_is_down_is_not_ready_and_flat_mirrors_do_not_care() {
    // F20
    let exports = "
        export remote ns1/s @m/exported=true
        export remote ns1/t @m/exported=remote-discovery
    ";
    assert_snapshot!(replanned(
        &with(exports),
        &format!("ns ns1\nlink remote gateway=192.0.2.127:888 identity=gateway-identity down=probes-fail\n{exports}"),
    ), @r"
    change EndpointSlice ns1/s-remote.ipv4
      @endpointslice.kubernetes.io/managed-by=tombolo @kubernetes.io/service-name=s-remote @m/cluster-name=remote @m/mirrored-service=true
      #m/remote-gateway-identity=gateway-identity #m/remote-svc-fq-name=s.ns1.svc.cluster.local
      http:888 -> [192.0.2.127 NotReady]
    remote: GatewayAlive=False (GatewayDown: probes-fail)
      mirror ns1/s -> ns1/s-remote
      mirror ns1/t -> ns1/t-remote
    ");
}

#[test]
fn gateway_addresses_are_sorted_and_split_by_family() {
    assert_snapshot!(planned("
        ns ns1
        link remote gateway=192.0.2.9,fd00::2,192.0.2.10,fd00::1:4143 up
        export remote ns1/s @m/exported=true
    "), @r"
    create Service ns1/s-remote
      @m/cluster-name=remote @m/mirrored-service=true
      #m/remote-resource-version=1 #m/remote-svc-fq-name=s.ns1.svc.cluster.local
      http:80
    create EndpointSlice ns1/s-remote.ipv4
      @endpointslice.kubernetes.io/managed-by=tombolo @kubernetes.io/service-name=s-remote @m/cluster-name=remote @m/mirrored-service=true
      #m/remote-svc-fq-name=s.ns1.svc.cluster.local
      http:4143 -> [192.0.2.9 Ready, 192.0.2.10 Ready]
    create EndpointSlice ns1/s-remote.ipv6
      @endpointslice.kubernetes.io/managed-by=tombolo @kubernetes.io/service-name=s-remote @m/cluster-name=remote @m/mirrored-service=true
      #m/remote-svc-fq-name=s.ns1.svc.cluster.local
      http:4143 -> [fd00::1 Ready, fd00::2 Ready]
    remote:
      mirror ns1/s -> ns1/s-remote
    ");
}

#[test]
fn a_gateway_name_that_does_not_resolve_is_a_condition() {
    assert_snapshot!(planned("
        ns ns1
        link remote gateway=:4143
        export remote ns1/s @m/exported=true
    "), @r"
    create Service ns1/s-remote
      @m/cluster-name=remote @m/mirrored-service=true
      #m/remote-resource-version=1 #m/remote-svc-fq-name=s.ns1.svc.cluster.local
      http:80
    create EndpointSlice ns1/s-remote.ipv4
      @endpointslice.kubernetes.io/managed-by=tombolo @kubernetes.io/service-name=s-remote @m/cluster-name=remote @m/mirrored-service=true
      #m/remote-svc-fq-name=s.ns1.svc.cluster.local
      http:4143 -> []
    remote: GatewayAlive=False (NoGateway: spec.gatewayAddress: no address could be resolved)
      mirror ns1/s -> none Mirrored=False (Error: Failed to create mirror endpoints: spec.gatewayAddress of the Link: no address could be resolved)
    ");
}

#[test]
fn a_change_of_the_link_rewrites_its_mirrors() {
    // Spec 10.3 (23): excluded lists and the mode are of the Link, not of the export.
    let export = "export remote ns1/s rv=1 @app=web @x/secret=1";
    assert_snapshot!(replanned(
        &format!("ns ns1\nlink remote gateway=192.0.2.127:888 select=app=web\n{export}"),
        &format!("ns ns1\nlink remote flat=app=web exclude-labels=x/*\n{export}"),
    ), @r"
    change Service ns1/s-remote
      @app=web @m/cluster-name=remote @m/mirrored-service=true @mc/remote-discovery=remote @mc/remote-service=s
      #m/remote-resource-version=1 #m/remote-svc-fq-name=s.ns1.svc.cluster.local
      http:80
    delete EndpointSlice ns1/s-remote.ipv4 (uid-of-ns1/s-remote)
    remote:
      mirror ns1/s -> ns1/s-remote
    ");
}

#[test]
fn a_deleted_link_takes_its_mirrors_and_memberships_along() {
    // A10, F10
    assert_snapshot!(replanned(
        &with("
            link other
            export remote ns1/s @m/exported=true
            export remote ns1/f @m/federated=member
            export other ns1/f @m/federated=member
            export remote ns1/g @m/federated=member
        "),
        "
            ns ns1
            link other
            export other ns1/f @m/federated=member
        ",
    ), @r"
    change Service ns1/f-federated
      @m/mirrored-service=true
      #mc/remote-discovery=f@other
      http:80
    delete Service ns1/g-federated (uid-of-ns1/g-federated)
    delete Service ns1/s-remote (uid-of-ns1/s-remote)
    delete EndpointSlice ns1/s-remote.ipv4 (uid-of-ns1/s-remote)
    other:
      member ns1/f -> ns1/f-federated
    ");
}

#[test]
fn what_was_missed_while_down_is_made_good() {
    // A11: of two mirrors the export of one is gone, that of another lost its label.
    assert_snapshot!(replanned(
        &with("
            export remote ns1/one @m/exported=true
            export remote ns1/two @m/exported=true
            export remote ns1/three @m/exported=true
        "),
        &with("
            export remote ns1/one @m/exported=true
            export remote ns1/three @app=three
        "),
    ), @r"
    delete Service ns1/three-remote (uid-of-ns1/three-remote)
    delete EndpointSlice ns1/three-remote.ipv4 (uid-of-ns1/three-remote)
    delete Service ns1/two-remote (uid-of-ns1/two-remote)
    delete EndpointSlice ns1/two-remote.ipv4 (uid-of-ns1/two-remote)
    remote: GatewayAlive=Unknown (NotProbed)
      mirror ns1/one -> ns1/one-remote
    ");
}

#[test]
fn a_service_without_export_labels_is_nobodys_business() {
    // A13b
    assert_snapshot!(replanned(&with("export remote ns1/gateway"), LINK), @"remote: GatewayAlive=Unknown (NotProbed)");
}

#[test]
fn keys_are_copied_by_rule() {
    // F22, F23, F24, F41
    assert_snapshot!(planned("
        ns ns1
        link remote gateway=192.0.2.127:888 exclude-labels=foo/*,exact exclude-annotations=config.linkerd.io/*
        export remote ns1/s @m/exported=true @foo/a=1 @foobar/b=2 @exact=3 @exactly=4 @mc/remote-discovery=evil @m/mirrored-gateway=true #config.linkerd.io/opaque-ports=25 #config.linkerd.io/skip=1 #service.kubernetes.io/topology-mode=Auto #service.kubernetes.io/topology-aware-hints=Auto #mc/local-discovery=other #m/remote-gateway-identity=evil #kept=5
    "), @r"
    create Service ns1/s-remote
      @exactly=4 @foobar/b=2 @m/cluster-name=remote @m/mirrored-service=true
      #config.linkerd.io/opaque-ports=25 #kept=5 #m/remote-resource-version=1 #m/remote-svc-fq-name=s.ns1.svc.cluster.local
      http:80
    create EndpointSlice ns1/s-remote.ipv4
      @endpointslice.kubernetes.io/managed-by=tombolo @exactly=4 @foobar/b=2 @kubernetes.io/service-name=s-remote @m/cluster-name=remote @m/mirrored-service=true
      #m/remote-svc-fq-name=s.ns1.svc.cluster.local
      http:888 -> [192.0.2.127 Ready]
    remote: GatewayAlive=Unknown (NotProbed)
      mirror ns1/s -> ns1/s-remote
    ");
}

#[test]
fn what_is_mirrored_is_not_exported_again() {
    // F25
    assert_snapshot!(planned("
        ns ns1
        link remote gateway=192.0.2.127:888 select=app=web fed=app=web
        export remote ns1/web-here @app=web @m/mirrored-service=true
        service ns1/web-federated @app=web @m/mirrored-service=true
    "), @"remote: GatewayAlive=Unknown (NotProbed)");
}

#[test]
fn an_unreachable_or_unsynced_cluster_keeps_what_it_has() {
    let exports = "
        export remote ns1/s @m/exported=true
        export remote ns1/f @m/federated=member
    ";
    let silent = format!(
        "ns ns1\nlink remote gateway=192.0.2.127:888 identity=gateway-identity silent=timeout\n{exports}"
    );
    assert_snapshot!(replanned(&with(exports), &silent), @r"
    remote: GatewayAlive=Unknown (NotProbed) Synced=False (Unreachable: timeout)
      mirror ns1/s -> ns1/s-remote
      member ns1/f -> ns1/f-federated
    ");
    assert_snapshot!(replanned(&with(exports), "ns ns1\nlink remote gateway=192.0.2.127:888 unknown"), @r"
    remote: GatewayAlive=Unknown (NotProbed) Synced=False (NeverSynced: not yet)
      mirror ns1/s -> ns1/s-remote Mirrored=True (Mirrored: kept as it was)
      member ns1/f -> ns1/f-federated Mirrored=True (Mirrored: kept as it was)
    ");
}

#[test]
fn a_port_that_changed_here_alone_is_put_right() {
    let ports = |list| {
        with(&format!(
            "export remote ns1/s rv=1 @m/exported=remote-discovery ports={list}"
        ))
    };
    assert_snapshot!(replanned(&ports("a:1"), &ports("a:2")), @r"
    change Service ns1/s-remote
      @m/cluster-name=remote @m/mirrored-service=true @mc/remote-discovery=remote @mc/remote-service=s
      #m/remote-resource-version=1 #m/remote-svc-fq-name=s.ns1.svc.cluster.local
      a:2
    remote: GatewayAlive=Unknown (NotProbed)
      mirror ns1/s -> ns1/s-remote
    ");
}

#[test]
fn a_gateway_that_does_not_resolve_any_more_is_where_it_was() {
    let before = "
        ns ns1
        link remote gateway=192.0.2.127,192.0.2.128:888
        export remote ns1/s @m/exported=true
    ";
    let now = "
        ns ns1
        link remote gateway=:888
        export remote ns1/s @m/exported=true
        export remote ns1/t @m/exported=true
    ";
    assert_snapshot!(replanned(before, now), @r"
    create Service ns1/t-remote
      @m/cluster-name=remote @m/mirrored-service=true
      #m/remote-resource-version=1 #m/remote-svc-fq-name=t.ns1.svc.cluster.local
      http:80
    create EndpointSlice ns1/t-remote.ipv4
      @endpointslice.kubernetes.io/managed-by=tombolo @kubernetes.io/service-name=t-remote @m/cluster-name=remote @m/mirrored-service=true
      #m/remote-svc-fq-name=t.ns1.svc.cluster.local
      http:888 -> [192.0.2.127 Ready, 192.0.2.128 Ready]
    remote: GatewayAlive=Unknown (NotProbed: spec.gatewayAddress: no address could be resolved; those known last are used)
      mirror ns1/s -> ns1/s-remote
      mirror ns1/t -> ns1/t-remote
    ");
}
