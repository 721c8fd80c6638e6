package main

import (
	"context"
	"encoding/json"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	disco "k8s.io/client-go/discovery"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/util/retry"
)

func discovery(_ context.Context, e *env) error {
	client, err := disco.NewDiscoveryClientForConfig(e.config)
	if err != nil {
		return err
	}
	lists, err := client.ServerPreferredResources()
	if err != nil {
		return err
	}
	found := map[string]bool{}
	for _, list := range lists {
		for _, res := range list.APIResources {
			found[list.GroupVersion+"/"+res.Name] = true
		}
	}
	for _, name := range []string{"v1/pods", "apps/v1/deployments", "coordination.k8s.io/v1/leases", "rbac.authorization.k8s.io/v1/clusterroles"} {
		if !found[name] {
			return fmt.Errorf("%s is not among the preferred resources", name)
		}
	}
	version, err := client.ServerVersion()
	if err != nil {
		return err
	}
	return expect("the major version", version.Major, "1")
}

func restMapper(_ context.Context, e *env) error {
	client, err := disco.NewDiscoveryClientForConfig(e.config)
	if err != nil {
		return err
	}
	groups, err := restmapper.GetAPIGroupResources(client)
	if err != nil {
		return err
	}
	mapper := restmapper.NewDiscoveryRESTMapper(groups)
	mapping, err := mapper.RESTMapping(schema.GroupKind{Group: "apps", Kind: "Deployment"})
	if err != nil {
		return err
	}
	kind, err := mapper.KindFor(schema.GroupVersionResource{Resource: "services"})
	return first(err,
		expect("the resource", mapping.Resource.String(), "apps/v1, Resource=deployments"),
		expect("the scope", string(mapping.Scope.Name()), "namespace"),
		expect("the kind", kind.Kind, "Service"))
}

func configMap(name string) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"app": "client"}},
		Data:       map[string]string{"key": "one"},
		BinaryData: map[string][]byte{"raw": {0, 1, 254, 255}},
	}
}

func lifecycle(ctx context.Context, e *env) error {
	maps := e.typed.CoreV1().ConfigMaps(e.namespace)
	made, err := maps.Create(ctx, configMap("lifecycle"), metav1.CreateOptions{})
	if err != nil {
		return err
	}
	made.Data["key"] = "two"
	made.Annotations = map[string]string{"note": "ä"}
	if made, err = maps.Update(ctx, made, metav1.UpdateOptions{}); err != nil {
		return err
	}
	got, err := maps.Get(ctx, "lifecycle", metav1.GetOptions{})
	if err != nil {
		return err
	}
	if err := first(
		expect("the uid", got.UID, made.UID),
		expect("the text", got.Data["key"], "two"),
		expect("the bytes", string(got.BinaryData["raw"]), "\x00\x01\xfe\xff"),
		expect("the annotation", got.Annotations["note"], "ä"),
		expect("the version", got.ResourceVersion, made.ResourceVersion),
		expect("the managers", len(got.ManagedFields), 1)); err != nil {
		return err
	}
	list, err := maps.List(ctx, metav1.ListOptions{LabelSelector: "app=client", FieldSelector: "metadata.name=lifecycle"})
	if err != nil {
		return err
	}
	if err := expect("the length of the list", len(list.Items), 1); err != nil {
		return err
	}
	wrong := types.UID("00000000-0000-0000-0000-000000000000")
	err = maps.Delete(ctx, "lifecycle", metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &wrong}})
	if !errors.IsConflict(err) {
		return fmt.Errorf("a delete with another uid answers %v", err)
	}
	if err := maps.Delete(ctx, "lifecycle", *metav1.NewPreconditionDeleteOptions(string(made.UID))); err != nil {
		return err
	}
	if _, err = maps.Get(ctx, "lifecycle", metav1.GetOptions{}); !errors.IsNotFound(err) {
		return fmt.Errorf("after the delete a get answers %v", err)
	}
	return richObjects(ctx, e)
}

// richObjects come back as they were sent, numbers and quantities included.
func richObjects(ctx context.Context, e *env) error {
	five := int32(5)
	percent := intstr.FromString("25%")
	deployment := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "rich"},
		Spec: appsv1.DeploymentSpec{
			Replicas:        &five,
			Selector:        &metav1.LabelSelector{MatchLabels: map[string]string{"app": "rich"}},
			MinReadySeconds: 3,
			Strategy: appsv1.DeploymentStrategy{
				Type:          appsv1.RollingUpdateDeploymentStrategyType,
				RollingUpdate: &appsv1.RollingUpdateDeployment{MaxSurge: &percent},
			},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "rich"}},
				Spec: corev1.PodSpec{Containers: []corev1.Container{{
					Name: "main", Image: "image:1",
					Ports: []corev1.ContainerPort{{ContainerPort: 8080, Name: "http"}},
					Env:   []corev1.EnvVar{{Name: "A", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.name"}}}},
					Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{
						corev1.ResourceCPU: resource.MustParse("250m"), corev1.ResourceMemory: resource.MustParse("64Mi"),
					}},
				}}},
			},
		},
	}
	deployments := e.typed.AppsV1().Deployments(e.namespace)
	if _, err := deployments.Create(ctx, deployment, metav1.CreateOptions{}); err != nil {
		return err
	}
	got, err := deployments.Get(ctx, "rich", metav1.GetOptions{})
	if err != nil {
		return err
	}
	container := got.Spec.Template.Spec.Containers[0]
	cpu := container.Resources.Requests[corev1.ResourceCPU]
	return first(
		expect("the replicas", *got.Spec.Replicas, 5),
		expect("the surge", got.Spec.Strategy.RollingUpdate.MaxSurge.String(), "25%"),
		expect("the default of unavailable", got.Spec.Strategy.RollingUpdate.MaxUnavailable.String(), "25%"),
		expect("the protocol", container.Ports[0].Protocol, corev1.ProtocolTCP),
		expect("the field's version", container.Env[0].ValueFrom.FieldRef.APIVersion, "v1"),
		expect("the quantity", cpu.String(), "250m"),
		deployments.Delete(ctx, "rich", metav1.DeleteOptions{}))
}

func conflict(ctx context.Context, e *env) error {
	maps := e.typed.CoreV1().ConfigMaps(e.namespace)
	old, err := maps.Create(ctx, configMap("conflict"), metav1.CreateOptions{})
	if err != nil {
		return err
	}
	newer := old.DeepCopy()
	newer.Data["key"] = "newer"
	if _, err := maps.Update(ctx, newer, metav1.UpdateOptions{}); err != nil {
		return err
	}
	old.Data["key"] = "older"
	if _, err := maps.Update(ctx, old, metav1.UpdateOptions{}); !errors.IsConflict(err) {
		return fmt.Errorf("an update of an old version answers %v", err)
	}
	return retry.RetryOnConflict(retry.DefaultRetry, func() error {
		fresh, err := maps.Get(ctx, "conflict", metav1.GetOptions{})
		if err != nil {
			return err
		}
		fresh.Data["key"] = "newest"
		_, err = maps.Update(ctx, fresh, metav1.UpdateOptions{})
		return err
	})
}

func patches(ctx context.Context, e *env) error {
	services := e.typed.CoreV1().Services(e.namespace)
	service := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "patched"},
		Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "a", Port: 80}}},
	}
	if _, err := services.Create(ctx, service, metav1.CreateOptions{}); err != nil {
		return err
	}
	for _, patch := range []struct {
		kind types.PatchType
		text string
	}{
		{types.StrategicMergePatchType, `{"spec":{"ports":[{"name":"b","port":81}]}}`},
		{types.MergePatchType, `{"metadata":{"labels":{"x":"y"}}}`},
		{types.JSONPatchType, `[{"op":"test","path":"/metadata/labels/x","value":"y"},{"op":"add","path":"/metadata/labels/z","value":"1"}]`},
	} {
		if _, err := services.Patch(ctx, "patched", patch.kind, []byte(patch.text), metav1.PatchOptions{}); err != nil {
			return fmt.Errorf("%s: %w", patch.kind, err)
		}
	}
	got, err := services.Get(ctx, "patched", metav1.GetOptions{})
	if err != nil {
		return err
	}
	bad := []byte(`[{"op":"test","path":"/metadata/labels/x","value":"n"}]`)
	_, err = services.Patch(ctx, "patched", types.JSONPatchType, bad, metav1.PatchOptions{})
	if !errors.IsInvalid(err) {
		return fmt.Errorf("a test that fails answers %v", err)
	}
	return first(
		expect("the number of ports", len(got.Spec.Ports), 2),
		expect("the labels", fmt.Sprint(got.Labels), "map[x:y z:1]"),
		services.Delete(ctx, "patched", metav1.DeleteOptions{}))
}

func status(ctx context.Context, e *env) error {
	pods := e.typed.CoreV1().Pods(e.namespace)
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "status"},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "a", Image: "b"}}},
	}
	made, err := pods.Create(ctx, pod, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	made.Status.Phase = corev1.PodRunning
	made.Status.PodIP = "10.1.2.3"
	made.Labels = map[string]string{"not": "written"}
	if made, err = pods.UpdateStatus(ctx, made, metav1.UpdateOptions{}); err != nil {
		return err
	}
	list, err := pods.List(ctx, metav1.ListOptions{FieldSelector: "status.phase=Running"})
	if err != nil {
		return err
	}
	none := int64(0)
	return first(
		expect("the phase", made.Status.Phase, corev1.PodRunning),
		expect("the running pods", len(list.Items), 1),
		pods.Delete(ctx, "status", metav1.DeleteOptions{GracePeriodSeconds: &none}))
}

func deleteCollection(ctx context.Context, e *env) error {
	maps := e.typed.CoreV1().ConfigMaps(e.namespace)
	for n := range 5 {
		one := configMap(fmt.Sprintf("many-%d", n))
		one.Labels["odd"] = fmt.Sprint(n % 2)
		if _, err := maps.Create(ctx, one, metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	if err := maps.DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: "odd=1"}); err != nil {
		return err
	}
	left, err := maps.List(ctx, metav1.ListOptions{LabelSelector: "odd"})
	if err != nil {
		return err
	}
	return expect("what is left", len(left.Items), 3)
}

func errorKinds(ctx context.Context, e *env) error {
	maps := e.typed.CoreV1().ConfigMaps(e.namespace)
	if _, err := maps.Create(ctx, configMap("twice"), metav1.CreateOptions{}); err != nil {
		return err
	}
	_, err := maps.Create(ctx, configMap("twice"), metav1.CreateOptions{})
	if !errors.IsAlreadyExists(err) {
		return fmt.Errorf("a second create answers %v", err)
	}
	_, err = maps.Create(ctx, configMap("NOT A NAME"), metav1.CreateOptions{})
	if !errors.IsInvalid(err) {
		return fmt.Errorf("a bad name answers %v", err)
	}
	lost := e.typed.CoreV1().ConfigMaps("no-such-namespace")
	if _, err = lost.Create(ctx, configMap("lost"), metav1.CreateOptions{}); !errors.IsNotFound(err) {
		return fmt.Errorf("a create in no namespace answers %v", err)
	}
	dry := metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}
	if _, err := maps.Create(ctx, configMap("dry"), dry); err != nil {
		return err
	}
	if _, err = maps.Get(ctx, "dry", metav1.GetOptions{}); !errors.IsNotFound(err) {
		return fmt.Errorf("a dry run leaves %v", err)
	}
	var unknown map[string]any
	text := []byte(`{"metadata":{"name":"strict"},"nosuch":1}`)
	if err := json.Unmarshal(text, &unknown); err != nil {
		return err
	}
	body := e.typed.CoreV1().RESTClient().Post().Namespace(e.namespace).Resource("configmaps")
	err = body.Param("fieldValidation", "Strict").SetHeader("Content-Type", "application/json").Body(text).Do(ctx).Error()
	if !errors.IsBadRequest(err) {
		return fmt.Errorf("an unknown field answers %v", err)
	}
	return nil
}
