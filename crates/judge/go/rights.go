package main

import (
	"context"
	"fmt"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	eventtools "k8s.io/client-go/tools/events"

	appsv1 "k8s.io/api/apps/v1"
)

func account(ctx context.Context, e *env, name string) error {
	object := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}
	_, err := e.typed.CoreV1().ServiceAccounts(e.namespace).Create(ctx, object, metav1.CreateOptions{})
	return err
}

// tokenRequest: an account's token is it, for its audience, and gives what its role says and nothing else.
func tokenRequest(ctx context.Context, e *env) error {
	if err := account(ctx, e, "bot"); err != nil {
		return err
	}
	accounts := e.typed.CoreV1().ServiceAccounts(e.namespace)
	seconds := int64(900)
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds}}
	made, err := accounts.CreateToken(ctx, "bot", request, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	request.Spec.Audiences = []string{"elsewhere"}
	foreign, err := accounts.CreateToken(ctx, "bot", request, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	review := func(token string, audiences ...string) (authenticationv1.TokenReviewStatus, error) {
		review := &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token, Audiences: audiences}}
		done, err := e.typed.AuthenticationV1().TokenReviews().Create(ctx, review, metav1.CreateOptions{})
		if err != nil {
			return authenticationv1.TokenReviewStatus{}, err
		}
		return done.Status, nil
	}
	own, err := review(made.Status.Token)
	if err != nil {
		return err
	}
	name := fmt.Sprintf("system:serviceaccount:%s:bot", e.namespace)
	if err := expect("whose token it is", own.User.Username, name); err != nil {
		return err
	}
	for _, audiences := range [][]string{nil, {"elsewhere"}} {
		status, err := review(foreign.Status.Token, audiences...)
		if err != nil {
			return err
		}
		if err := expect(fmt.Sprintf("a token for elsewhere, asked for %v,", audiences), status.Authenticated, audiences != nil); err != nil {
			return err
		}
	}
	return asBot(ctx, e, made.Status.Token)
}

func asBot(ctx context.Context, e *env, token string) error {
	config := rest.AnonymousClientConfig(e.config)
	config.BearerToken = token
	bot, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	maps := bot.CoreV1().ConfigMaps(e.namespace)
	if _, err = maps.List(ctx, metav1.ListOptions{}); !errors.IsForbidden(err) {
		return fmt.Errorf("without a role a list answers %v", err)
	}
	rules := []rbacv1.PolicyRule{{Verbs: []string{"list"}, APIGroups: []string{""}, Resources: []string{"configmaps"}}}
	roles := e.typed.RbacV1()
	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: "lister"}, Rules: rules}
	if _, err := roles.Roles(e.namespace).Create(ctx, role, metav1.CreateOptions{}); err != nil {
		return err
	}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "lister"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "lister"},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Name: "bot"}},
	}
	if _, err := roles.RoleBindings(e.namespace).Create(ctx, binding, metav1.CreateOptions{}); err != nil {
		return err
	}
	err = until(ctx, "the right to list", func() (bool, error) {
		_, err := maps.List(ctx, metav1.ListOptions{})
		if errors.IsForbidden(err) {
			return false, nil
		}
		return err == nil, err
	})
	if err != nil {
		return err
	}
	if _, err = maps.Get(ctx, "any", metav1.GetOptions{}); !errors.IsForbidden(err) {
		return fmt.Errorf("what no role says answers %v", err)
	}
	config.BearerToken = token + "x"
	if bot, err = kubernetes.NewForConfig(config); err != nil {
		return err
	}
	_, err = bot.CoreV1().ConfigMaps(e.namespace).List(ctx, metav1.ListOptions{})
	if !errors.IsUnauthorized(err) {
		return fmt.Errorf("a token that is none answers %v", err)
	}
	return nil
}

func accessReview(ctx context.Context, e *env) error {
	asked := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
		ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: "delete", Resource: "nodes"},
	}}
	own, err := e.typed.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, asked, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	other := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: "nobody", ResourceAttributes: asked.Spec.ResourceAttributes,
	}}
	other, err = e.typed.AuthorizationV1().SubjectAccessReviews().Create(ctx, other, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	config := rest.CopyConfig(e.config)
	config.Impersonate = rest.ImpersonationConfig{UserName: "jane", Groups: []string{"dev"}, Extra: map[string][]string{"scope": {"a"}}}
	jane, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	self, err := jane.AuthenticationV1().SelfSubjectReviews().Create(ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	return first(
		expect("the administrator", own.Status.Allowed, true),
		expect("nobody", other.Status.Allowed, false),
		expect("the user", self.Status.UserInfo.Username, "jane"),
		expect("the groups", fmt.Sprint(self.Status.UserInfo.Groups), "[dev system:authenticated]"),
		expect("the extra", fmt.Sprint(self.Status.UserInfo.Extra["scope"]), "[a]"))
}

func scale(ctx context.Context, e *env) error {
	labels := map[string]string{"app": "scaled"}
	deployments := e.typed.AppsV1().Deployments(e.namespace)
	deployment := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "scaled"},
		Spec: appsv1.DeploymentSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "a", Image: "b"}}},
			},
		},
	}
	if _, err := deployments.Create(ctx, deployment, metav1.CreateOptions{}); err != nil {
		return err
	}
	var now *autoscalingv1.Scale
	now, err := deployments.GetScale(ctx, "scaled", metav1.GetOptions{})
	if err != nil {
		return err
	}
	now.Spec.Replicas = 3
	now.ResourceVersion = ""
	if now, err = deployments.UpdateScale(ctx, "scaled", now, metav1.UpdateOptions{}); err != nil {
		return err
	}
	return first(
		expect("the replicas", now.Spec.Replicas, 3),
		expect("the selector", now.Status.Selector, "app=scaled"),
		deployments.Delete(ctx, "scaled", metav1.DeleteOptions{}))
}

func events(ctx context.Context, e *env) error {
	maps := e.typed.CoreV1().ConfigMaps(e.namespace)
	about, err := maps.Create(ctx, configMap("event"), metav1.CreateOptions{})
	if err != nil {
		return err
	}
	broadcaster := eventtools.NewBroadcaster(&eventtools.EventSinkImpl{Interface: e.typed.EventsV1()})
	if err := broadcaster.StartRecordingToSinkWithContext(ctx); err != nil {
		return err
	}
	defer broadcaster.Shutdown()
	recorder := broadcaster.NewRecorder(scheme.Scheme, "client")
	recorder.Eventf(about, nil, corev1.EventTypeNormal, "Tried", "Trying", "it works %d times", 1)
	var found []eventsv1.Event
	err = until(ctx, "the event", func() (bool, error) {
		list, err := e.typed.EventsV1().Events(e.namespace).List(ctx, metav1.ListOptions{FieldSelector: "regarding.name=event"})
		if err != nil {
			return false, err
		}
		found = list.Items
		return len(found) > 0, nil
	})
	if err != nil {
		return err
	}
	old, err := e.typed.CoreV1().Events(e.namespace).List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.name=event"})
	if err != nil {
		return err
	}
	return first(
		expect("the note", found[0].Note, "it works 1 times"),
		expect("the same in the old group", len(old.Items), 1),
		expect("its message", old.Items[0].Message, "it works 1 times"))
}
