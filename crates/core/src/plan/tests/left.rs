//! What a Linkerd left: taken over by the Link that it came through, and by nobody else.
use insta::assert_snapshot;

use super::{planned, replanned};

const MIRROR: &str = "left ns1/s-remote @m/mirrored-service=true @m/cluster-name=remote \
    #m/remote-svc-fq-name=s.ns1.svc.cluster.local";
const FEDERATED: &str = "left ns1/s-federated @m/mirrored-service=true";

fn mirror(version: u32, rest: &str) -> String {
    format!("ns ns1\n{MIRROR} #m/remote-resource-version={version}\nlink remote\n{rest}")
}

fn federated(members: &str, rest: &str) -> String {
    format!("ns ns1\n{FEDERATED} {members}\nlink remote\n{rest}")
}

#[test]
fn a_mirror_that_is_as_it_shall_be_is_not_written() {
    // A12 c
    let world = mirror(1, "export remote ns1/s @m/exported=true");
    assert_snapshot!(planned(&world), @r"
    create EndpointSlice ns1/s-remote.ipv4
      @endpointslice.kubernetes.io/managed-by=tombolo @kubernetes.io/service-name=s-remote @m/cluster-name=remote @m/mirrored-service=true
      #m/remote-svc-fq-name=s.ns1.svc.cluster.local
       -> []
    remote: GatewayAlive=False (NoGateway: spec.gatewayAddress is empty, so mirrors through it have no endpoints)
      mirror ns1/s -> none Mirrored=False (Error: Failed to create mirror endpoints: spec.gatewayAddress of the Link is empty)
    ");
}

#[test]
fn a_mirror_of_another_version_is_taken_over() {
    // A6, A12 b
    let world = mirror(1, "export remote ns1/s rv=2 @m/exported=true");
    assert_snapshot!(planned(&world), @r"
    create EndpointSlice ns1/s-remote.ipv4
      @endpointslice.kubernetes.io/managed-by=tombolo @kubernetes.io/service-name=s-remote @m/cluster-name=remote @m/mirrored-service=true
      #m/remote-svc-fq-name=s.ns1.svc.cluster.local
       -> []
    take over Service ns1/s-remote
      @m/cluster-name=remote @m/mirrored-service=true
      #m/remote-resource-version=2 #m/remote-svc-fq-name=s.ns1.svc.cluster.local
      http:80
    remote: GatewayAlive=False (NoGateway: spec.gatewayAddress is empty, so mirrors through it have no endpoints)
      mirror ns1/s -> none Mirrored=False (Error: Failed to create mirror endpoints: spec.gatewayAddress of the Link is empty)
    ");
}

#[test]
fn a_mirror_of_nothing_goes_with_the_first_word_of_its_cluster() {
    // A11, A12 d
    assert_snapshot!(planned(&mirror(1, "")), @r"
    delete Service ns1/s-remote (left)
    remote:
    ");
    assert_snapshot!(planned(&mirror(1, "export remote ns1/s")), @r"
    delete Service ns1/s-remote (left)
    remote:
    ");
}

#[test]
fn a_mirror_stays_while_its_cluster_has_not_spoken() {
    let world = mirror(1, "").replace("link remote", "link remote unknown");
    assert_snapshot!(planned(&world), @"remote: Synced=False (NeverSynced: not yet)");
    let world = mirror(1, "").replace("link remote", "link other");
    assert_snapshot!(planned(&world), @"other:");
}

#[test]
fn a_mirror_goes_with_its_link() {
    // A10
    let world = mirror(1, "unlinked remote").replace("link remote", "");
    assert_snapshot!(planned(&world), @"delete Service ns1/s-remote (left)");
}

#[test]
fn a_mirror_of_one_cluster_is_none_of_another() {
    assert_snapshot!(planned("
        ns ns1
        left ns1/a-b-c @m/mirrored-service=true @m/cluster-name=b-c #m/remote-svc-fq-name=a.ns1.svc.cluster.local #m/remote-resource-version=1
        link c
        export c ns1/a-b @m/exported=remote-discovery
    "), @r"
    c:
      mirror ns1/a-b -> none Mirrored=False (NameConflict: Service ns1/a-b-c exists and is not ours)
    ! Link mc/c: NameConflict: Skipped mirroring service: Service ns1/a-b-c exists and is not ours (ns1/a-b)
    ");
}

#[test]
fn old_endpoints_go_once_there_are_new_ones() {
    let world = mirror(
        1,
        "export remote ns1/s @m/exported=true\nold-slice ns1/s-remote s-remote-x7k2p",
    );
    assert_snapshot!(planned(&world), @r#"
    create EndpointSlice ns1/s-remote.ipv4
      @endpointslice.kubernetes.io/managed-by=tombolo @kubernetes.io/service-name=s-remote @m/cluster-name=remote @m/mirrored-service=true
      #m/remote-svc-fq-name=s.ns1.svc.cluster.local
       -> []
    delete Endpoints ns1/s-remote and {"s-remote-x7k2p"}
    remote: GatewayAlive=False (NoGateway: spec.gatewayAddress is empty, so mirrors through it have no endpoints)
      mirror ns1/s -> none Mirrored=False (Error: Failed to create mirror endpoints: spec.gatewayAddress of the Link is empty)
    "#);
}

#[test]
fn a_member_joins_what_a_linkerd_made() {
    // A1.6, A1.9: nothing is said by any Link about the other member.
    let world = federated(
        "#mc/remote-discovery=s@other",
        "export remote ns1/s @m/federated=member",
    );
    assert_snapshot!(planned(&world), @r"
    take over Service ns1/s-federated
      @m/mirrored-service=true
      #mc/remote-discovery=s@other,s@remote
      http:80
    remote:
      member ns1/s -> ns1/s-federated
    ");
    let world = federated(
        "#mc/remote-discovery=s@other",
        "service ns1/s @m/federated=member",
    );
    assert_snapshot!(planned(&world), @r"
    take over Service ns1/s-federated
      @m/mirrored-service=true
      #mc/local-discovery=s #mc/remote-discovery=s@other
      http:80
    remote:
    ");
}

#[test]
fn a_member_leaves_what_a_linkerd_made() {
    // A1.7, at the start and later.
    let both = "#mc/remote-discovery=s@other,s@remote";
    let present = federated(both, "export remote ns1/s @m/federated=member");
    let gone = federated(both, "");
    assert_snapshot!(planned(&gone), @r"
    take over Service ns1/s-federated
      @m/mirrored-service=true
      #mc/remote-discovery=s@other
      http:80
    remote:
    ");
    assert_snapshot!(replanned(&present, &gone.replace(&format!("{FEDERATED} {both}"), "taken-over ns1/s-federated")), @r"
    change Service ns1/s-federated
      @m/mirrored-service=true
      #mc/remote-discovery=s@other
      http:80
    remote:
    ");
}

#[test]
fn a_local_member_leaves_what_a_linkerd_made() {
    // A1.10
    let both = "#mc/local-discovery=s #mc/remote-discovery=s@other";
    let present = federated(both, "service ns1/s @m/federated=member");
    let gone = "ns ns1\ntaken-over ns1/s-federated\nlink remote\nservice ns1/s";
    assert_snapshot!(replanned(&present, gone), @r"
    change Service ns1/s-federated
      @m/mirrored-service=true
      #mc/remote-discovery=s@other
      http:80
    remote:
    ");
}

#[test]
fn what_no_link_and_no_member_is_about_is_left_alone() {
    let members = "#mc/local-discovery=s #mc/remote-discovery=s@other";
    assert_snapshot!(planned(&federated(members, "service ns1/s")), @"remote:");
}

#[test]
fn the_last_member_takes_the_service_with_it() {
    assert_snapshot!(planned(&federated("#mc/remote-discovery=s@remote", "")), @r"
    delete Service ns1/s-federated (left)
    remote:
    ");
}

#[test]
fn a_member_whose_link_is_gone_is_gone() {
    let world = federated(
        "#mc/remote-discovery=s@other,s@remote",
        "unlinked other\nexport remote ns1/s @m/federated=member",
    );
    assert_snapshot!(planned(&world), @r"
    take over Service ns1/s-federated
      @m/mirrored-service=true
      #mc/remote-discovery=s@remote
      http:80
    remote:
      member ns1/s -> ns1/s-federated
    ");
}
