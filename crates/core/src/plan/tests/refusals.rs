//! What bad input gets: a condition and an Event that name the object and the field; nothing lost.
use insta::assert_snapshot;

use super::{planned, replanned};

#[test]
fn a_name_that_a_user_took_is_left_to_him() {
    // F3: neither overwritten, nor deleted when the export goes.
    let taken = "
        ns ns1
        link remote gateway=192.0.2.127:888
        service ns1/s-remote
    ";
    let exported = format!("{taken}\nexport remote ns1/s @m/exported=true");
    assert_snapshot!(planned(&exported), @r"
    remote: GatewayAlive=Unknown (NotProbed)
      mirror ns1/s -> none Mirrored=False (NameConflict: Service ns1/s-remote exists and is not ours)
    ! Link mc/remote: NameConflict: Skipped mirroring service: Service ns1/s-remote exists and is not ours (ns1/s)
    ");
    assert_snapshot!(replanned(&exported, taken), @"remote: GatewayAlive=Unknown (NotProbed)");
}

#[test]
fn labels_alone_do_not_make_an_object_ours() {
    assert_snapshot!(planned("
        ns ns1
        link remote
        service ns1/s-remote @m/mirrored-service=true @m/cluster-name=remote
    "), @"remote:");
}

#[test]
fn a_slice_name_that_is_taken_keeps_the_mirror_away() {
    assert_snapshot!(planned("
        ns ns1
        link remote gateway=192.0.2.127:888
        taken-slice ns1/s-remote.ipv4
        export remote ns1/s @m/exported=true
    "), @r"
    remote: GatewayAlive=Unknown (NotProbed)
      mirror ns1/s -> none Mirrored=False (NameConflict: EndpointSlice ns1/s-remote.ipv4 exists and is not ours)
    ! Link mc/remote: NameConflict: Skipped mirroring service: EndpointSlice ns1/s-remote.ipv4 exists and is not ours (ns1/s)
    ");
}

#[test]
fn a_name_that_would_be_too_long_is_refused() {
    // F27
    let name = "a".repeat(58);
    let world = format!(
        "ns ns1\nlink remote\nexport remote ns1/{name} @m/exported=true @m/federated=member\nservice ns1/{name} @m/federated=member"
    );
    assert_snapshot!(planned(&world), @r#"
    remote:
      mirror ns1/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa -> none Mirrored=False (NameTooLong: name "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-remote" has 65 bytes, more than 63)
      member ns1/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa -> none Mirrored=False (NameTooLong: name "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-federated" has 68 bytes, more than 63)
    ! Link mc/remote: NameTooLong: Skipped mirroring service: name "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-federated" has 68 bytes, more than 63 (ns1/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa)
    ! Link mc/remote: NameTooLong: Skipped mirroring service: name "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-remote" has 65 bytes, more than 63 (ns1/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa)
    ! Service ns1/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa: NameTooLong: Skipped joining federated service: name "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-federated" has 68 bytes, more than 63
    "#);
}

#[test]
fn two_mirrors_that_want_one_name_go_by_age_of_their_links() {
    // Spec 10.3 (17): `a` in `b-c` and `a-b` in `c`.
    assert_snapshot!(planned("
        ns ns1
        link c age=9
        link b-c age=1
        export c ns1/a-b @m/exported=remote-discovery
        export b-c ns1/a @m/exported=remote-discovery
    "), @r"
    create Service ns1/a-b-c
      @m/cluster-name=c @m/mirrored-service=true @mc/remote-discovery=c @mc/remote-service=a-b
      #m/remote-resource-version=1 #m/remote-svc-fq-name=a-b.ns1.svc.cluster.local
      http:80
    b-c:
      mirror ns1/a -> none Mirrored=False (NameConflict: Service ns1/a-b-c is taken by the mirror of ns1/a-b through Link mc/c)
    c:
      mirror ns1/a-b -> ns1/a-b-c
    ! Link mc/b-c: NameConflict: Skipped mirroring service: Service ns1/a-b-c is taken by the mirror of ns1/a-b through Link mc/c (ns1/a)
    ");
}

#[test]
fn a_cluster_called_federated_does_not_take_federated_names() {
    assert_snapshot!(planned("
        ns ns1
        link federated age=9
        link other age=1
        export federated ns1/s @m/exported=remote-discovery
        export other ns1/s @m/federated=member
    "), @r"
    create Service ns1/s-federated
      @m/mirrored-service=true
      #mc/remote-discovery=s@other
      http:80
    federated:
      mirror ns1/s -> none Mirrored=False (NameConflict: Service ns1/s-federated is taken by the federated service of ns1/s)
    other:
      member ns1/s -> ns1/s-federated
    ! Link mc/federated: NameConflict: Skipped mirroring service: Service ns1/s-federated is taken by the federated service of ns1/s (ns1/s)
    ");
}

#[test]
fn an_unknown_mode_names_the_service() {
    assert_snapshot!(planned("
        ns ns1
        link remote
        export remote ns1/s @m/exported=banana
        export remote ns1/t @m/federated=yes
        export remote ns1/u @m/exported=false @m/federated=false
        service ns1/v @m/federated=banana
    "), @r#"
    remote:
      mirror ns1/s -> none Mirrored=False (UnknownMode: label m/exported: unknown value "banana")
      member ns1/t -> none Mirrored=False (UnknownMode: label m/federated: unknown value "yes")
    ! Link mc/remote: UnknownMode: Skipped mirroring service: label m/exported: unknown value "banana" (ns1/s)
    ! Link mc/remote: UnknownMode: Skipped mirroring service: label m/federated: unknown value "yes" (ns1/t)
    ! Service ns1/v: UnknownMode: Skipped joining federated service: label m/federated: unknown value "banana"
    "#);
}

#[test]
fn services_without_ports_or_endpoints_cannot_be_mirrored() {
    assert_snapshot!(planned("
        ns ns1
        link remote gateway=192.0.2.127:888
        export remote ns1/s @m/exported=true ports=none headless
        export remote ns1/t @m/exported=remote-discovery external
        export remote ns1/u @m/exported=true headless nameless
    "), @r"
    create Service ns1/u-remote
      @m/cluster-name=remote @m/mirrored-service=true
      #m/remote-resource-version=1 #m/remote-svc-fq-name=u.ns1.svc.cluster.local
      http:80
    create EndpointSlice ns1/u-remote.ipv4
      @endpointslice.kubernetes.io/managed-by=tombolo @kubernetes.io/service-name=u-remote @m/cluster-name=remote @m/mirrored-service=true
      #m/remote-svc-fq-name=u.ns1.svc.cluster.local
      http:888 -> [192.0.2.127 Ready]
    remote: GatewayAlive=Unknown (NotProbed)
      mirror ns1/s -> none Mirrored=False (InvalidService: object spec has no exposed ports)
      mirror ns1/t -> none Mirrored=False (InvalidService: ExternalName service has no endpoints)
      mirror ns1/u -> ns1/u-remote
    ! Link mc/remote: InvalidService: Skipped mirroring service: ExternalName service has no endpoints (ns1/t)
    ! Link mc/remote: InvalidService: Skipped mirroring service: object spec has no exposed ports (ns1/s)
    ");
}

const BEFORE: &str = "
    ns ns1
    link remote age=9 gateway=192.0.2.127:888
    link other age=5
    export remote ns1/s @m/exported=true
    export remote ns1/f @m/federated=member
    export other ns1/f @m/federated=member
";

#[test]
fn a_link_whose_spec_is_refused_loses_nothing() {
    assert_snapshot!(replanned(BEFORE, "
        ns ns1
        link remote age=9 refused=spec.gatewayPort
        link other age=5
        export other ns1/f @m/federated=member
    "), @r"
    other:
      member ns1/f -> ns1/f-federated
    remote: Accepted=False (InvalidSpec: Link mc/remote: spec.gatewayPort: is wrong) Synced=False (InvalidSpec: what was mirrored is kept as it was until the Link is accepted)
      mirror ns1/s -> ns1/s-remote Mirrored=True (Mirrored: kept as it was)
      member ns1/f -> ns1/f-federated Mirrored=True (Mirrored: kept as it was)
    ! Link mc/remote: InvalidSpec: Link mc/remote: spec.gatewayPort: is wrong
    ");
}

#[test]
fn a_link_that_lost_its_target_loses_nothing() {
    assert_snapshot!(replanned(BEFORE, "
        ns ns1
        link remote age=9 refused=nameless
        link other age=5
    "), @r"
    change Service ns1/f-federated
      @m/mirrored-service=true
      #mc/remote-discovery=f@remote
      http:80
    other:
    remote: Accepted=False (InvalidSpec: Link mc/remote: spec.targetClusterName: is wrong) Synced=False (InvalidSpec: what was mirrored is kept as it was until the Link is accepted)
    ! Link mc/remote: InvalidSpec: Link mc/remote: spec.targetClusterName: is wrong
    ");
}

#[test]
fn credentials_that_are_refused_are_a_condition() {
    let now = BEFORE.replace(
        "gateway=192.0.2.127:888",
        "gateway=192.0.2.127:888 credentials=data.kubeconfig",
    );
    assert_snapshot!(replanned(BEFORE, &now), @r"
    other:
      member ns1/f -> ns1/f-federated
    remote: Accepted=False (InvalidCredentials: Link mc/remote: data.kubeconfig: is wrong) GatewayAlive=Unknown (NotProbed)
      mirror ns1/s -> ns1/s-remote
      member ns1/f -> ns1/f-federated
    ! Link mc/remote: InvalidCredentials: Link mc/remote: data.kubeconfig: is wrong
    ");
    let fresh = "
        ns ns1
        link remote credentials=data.kubeconfig unknown
    ";
    assert_snapshot!(planned(fresh), @r"
    remote: Accepted=False (InvalidCredentials: Link mc/remote: data.kubeconfig: is wrong) Synced=False (NeverSynced: not yet)
    ! Link mc/remote: InvalidCredentials: Link mc/remote: data.kubeconfig: is wrong
    ");
}

#[test]
fn of_two_links_with_one_target_the_older_stays_untouched() {
    let older = "
        ns ns1
        link remote age=9
        export remote ns1/s @m/exported=remote-discovery
        export remote ns1/f @m/federated=member
    ";
    let both = format!(
        "{older}\nlink a-twin age=1 to=remote\nexport a-twin ns1/other @m/exported=remote-discovery"
    );
    assert_snapshot!(replanned(older, &both), @r#"
    a-twin: Accepted=False (DuplicateTarget: Link mc/a-twin: spec.targetClusterName: "remote" is the target of the older Link mc/remote) Synced=False (DuplicateTarget: this Link mirrors nothing)
    remote:
      mirror ns1/s -> ns1/s-remote
      member ns1/f -> ns1/f-federated
    ! Link mc/a-twin: DuplicateTarget: Link mc/a-twin: spec.targetClusterName: "remote" is the target of the older Link mc/remote
    "#);
}

#[test]
fn links_of_one_age_go_by_name() {
    assert_snapshot!(planned("
        link b to=remote
        link a to=remote
    "), @r#"
    a:
    b: Accepted=False (DuplicateTarget: Link mc/b: spec.targetClusterName: "remote" is the target of the older Link mc/a) Synced=False (DuplicateTarget: this Link mirrors nothing)
    ! Link mc/b: DuplicateTarget: Link mc/b: spec.targetClusterName: "remote" is the target of the older Link mc/a
    "#);
}

#[test]
fn a_write_that_failed_is_shown_until_it_is_done() {
    let exported = "
        ns ns1
        link remote
        export remote ns1/s @m/exported=remote-discovery
        failure ns1/s-remote Failed to create mirror service: denied
    ";
    assert_snapshot!(planned(exported), @r"
    create Service ns1/s-remote
      @m/cluster-name=remote @m/mirrored-service=true @mc/remote-discovery=remote @mc/remote-service=s
      #m/remote-resource-version=1 #m/remote-svc-fq-name=s.ns1.svc.cluster.local
      http:80
    remote:
      mirror ns1/s -> none Mirrored=False (Error: Failed to create mirror service: denied)
    ");
    assert_snapshot!(replanned(exported, exported), @r"
    remote:
      mirror ns1/s -> ns1/s-remote
    ");
}

#[test]
fn what_is_wrong_with_one_mode_is_no_matter_of_the_others() {
    let before = "
        ns ns1
        link remote gateway=192.0.2.127:888
        export remote ns1/s @m/exported=true
        export remote ns1/f @m/federated=member
        export remote ns1/flat @m/exported=remote-discovery
    ";
    let now = |broken: &str| {
        format!(
            "
            ns ns1
            link remote gateway=192.0.2.127:888 {broken}
        "
        )
    };
    assert_snapshot!(replanned(before, &now("broken=gateway select=none")), @r"
    delete Service ns1/f-federated (uid-of-ns1/f-federated)
    delete Service ns1/flat-remote (uid-of-ns1/flat-remote)
    remote: Accepted=False (InvalidSpec: Link mc/remote: gateway: is wrong; what else it does goes on) GatewayAlive=Unknown (NotProbed)
      mirror ns1/s -> ns1/s-remote Mirrored=True (Mirrored: kept as it was)
    ! Link mc/remote: InvalidSpec: Link mc/remote: gateway: is wrong; what else it does goes on
    ");
    assert_snapshot!(replanned(before, &now("broken=flat flat=none")), @r"
    delete Service ns1/f-federated (uid-of-ns1/f-federated)
    delete Service ns1/s-remote (uid-of-ns1/s-remote)
    delete EndpointSlice ns1/s-remote.ipv4 (uid-of-ns1/s-remote)
    remote: Accepted=False (InvalidSpec: Link mc/remote: flat: is wrong; what else it does goes on) GatewayAlive=Unknown (NotProbed)
      mirror ns1/flat -> ns1/flat-remote Mirrored=True (Mirrored: kept as it was)
    ! Link mc/remote: InvalidSpec: Link mc/remote: flat: is wrong; what else it does goes on
    ");
    assert_snapshot!(replanned(before, &now("broken=fed fed=none")), @r"
    delete Service ns1/flat-remote (uid-of-ns1/flat-remote)
    delete Service ns1/s-remote (uid-of-ns1/s-remote)
    delete EndpointSlice ns1/s-remote.ipv4 (uid-of-ns1/s-remote)
    remote: Accepted=False (InvalidSpec: Link mc/remote: fed: is wrong; what else it does goes on) GatewayAlive=Unknown (NotProbed)
      member ns1/f -> ns1/f-federated Mirrored=True (Mirrored: kept as it was)
    ! Link mc/remote: InvalidSpec: Link mc/remote: fed: is wrong; what else it does goes on
    ");
}

#[test]
fn a_mode_that_is_broken_gets_nothing_new_and_the_others_do() {
    assert_snapshot!(planned("
        ns ns1
        link remote broken=gateway select=none
        export remote ns1/s @m/exported=true
        export remote ns1/flat @m/exported=remote-discovery
    "), @r"
    create Service ns1/flat-remote
      @m/cluster-name=remote @m/mirrored-service=true @mc/remote-discovery=remote @mc/remote-service=flat
      #m/remote-resource-version=1 #m/remote-svc-fq-name=flat.ns1.svc.cluster.local
      http:80
    remote: Accepted=False (InvalidSpec: Link mc/remote: gateway: is wrong; what else it does goes on)
      mirror ns1/flat -> ns1/flat-remote
    ! Link mc/remote: InvalidSpec: Link mc/remote: gateway: is wrong; what else it does goes on
    ");
}

#[test]
fn what_is_deleted_and_held_by_a_finalizer_is_not_deleted_again() {
    let before = "
        ns ns1
        link remote
        export remote ns1/s @m/exported=remote-discovery
    ";
    assert_snapshot!(replanned(before, "
        ns ns1
        link remote
        going ns1/s-remote
    "), @"remote:");
}

#[test]
fn pods_that_are_not_seen_are_said_where_they_are_needed() {
    assert_snapshot!(planned("link remote blind=denied"), @"remote: Synced=True (Synced: flat mirrors and members of federated services have no endpoints: denied)");
    assert_snapshot!(planned("link remote blind=denied flat=none fed=none"), @"remote:");
}
