package main

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	appsac "k8s.io/client-go/applyconfigurations/apps/v1"
	coreac "k8s.io/client-go/applyconfigurations/core/v1"
	metaac "k8s.io/client-go/applyconfigurations/meta/v1"
	"k8s.io/client-go/metadata"
)

func serverSideApply(ctx context.Context, e *env) error {
	labels := map[string]string{"app": "applied"}
	container := coreac.Container().WithName("main").WithImage("image:1")
	wanted := appsac.Deployment("applied", e.namespace).WithSpec(appsac.DeploymentSpec().
		WithReplicas(2).
		WithSelector(metaac.LabelSelector().WithMatchLabels(labels)).
		WithTemplate(coreac.PodTemplateSpec().WithLabels(labels).WithSpec(coreac.PodSpec().WithContainers(container))))
	deployments := e.typed.AppsV1().Deployments(e.namespace)
	made, err := deployments.Apply(ctx, wanted, metav1.ApplyOptions{FieldManager: "one"})
	if err != nil {
		return err
	}
	again, err := deployments.Apply(ctx, wanted, metav1.ApplyOptions{FieldManager: "one"})
	if err != nil {
		return err
	}
	wanted.Spec.Replicas = nil
	released, err := deployments.Apply(ctx, wanted, metav1.ApplyOptions{FieldManager: "one"})
	if err != nil {
		return err
	}
	return first(
		expect("the replicas", *made.Spec.Replicas, 2),
		expect("the generation", again.Generation, made.Generation),
		expect("replicas that nobody wants any more", *released.Spec.Replicas, 1),
		deployments.Delete(ctx, "applied", metav1.DeleteOptions{}))
}

func applyConflict(ctx context.Context, e *env) error {
	maps := e.typed.CoreV1().ConfigMaps(e.namespace)
	config := func(value string) *coreac.ConfigMapApplyConfiguration {
		return coreac.ConfigMap("fought-over", e.namespace).WithData(map[string]string{"key": value})
	}
	if _, err := maps.Apply(ctx, config("one"), metav1.ApplyOptions{FieldManager: "one"}); err != nil {
		return err
	}
	_, err := maps.Apply(ctx, config("two"), metav1.ApplyOptions{FieldManager: "two"})
	if !errors.IsConflict(err) {
		return fmt.Errorf("another value of another manager answers %v", err)
	}
	causes := err.(errors.APIStatus).Status().Details.Causes
	if err := expect("the field fought over", causes[0].Field, ".data.key"); err != nil {
		return err
	}
	got, err := maps.Apply(ctx, config("two"), metav1.ApplyOptions{FieldManager: "two", Force: true})
	if err != nil {
		return err
	}
	// Whoever has lost every field is no manager any more.
	return first(
		expect("the value", got.Data["key"], "two"),
		expect("the managers", len(got.ManagedFields), 1),
		expect("the manager", got.ManagedFields[0].Manager, "two"))
}

func extractAndApply(ctx context.Context, e *env) error {
	maps := e.typed.CoreV1().ConfigMaps(e.namespace)
	wanted := coreac.ConfigMap("extracted", e.namespace).WithData(map[string]string{"mine": "1"})
	if _, err := maps.Apply(ctx, wanted, metav1.ApplyOptions{FieldManager: "me"}); err != nil {
		return err
	}
	other := coreac.ConfigMap("extracted", e.namespace).WithData(map[string]string{"theirs": "1"})
	got, err := maps.Apply(ctx, other, metav1.ApplyOptions{FieldManager: "they"})
	if err != nil {
		return err
	}
	mine, err := coreac.ExtractConfigMap(got, "me")
	if err != nil {
		return err
	}
	if err := expect("what is mine", fmt.Sprint(mine.Data), "map[mine:1]"); err != nil {
		return err
	}
	mine.WithData(map[string]string{"mine": "2"})
	got, err = maps.Apply(ctx, mine, metav1.ApplyOptions{FieldManager: "me"})
	return first(err, expect("all", fmt.Sprint(got.Data), "map[mine:2 theirs:1]"))
}

var mapResource = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}

func dynamicClient(ctx context.Context, e *env) error {
	maps := e.dynamic.Resource(mapResource).Namespace(e.namespace)
	object := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap",
		"metadata": map[string]any{"generateName": "dynamic-"},
		"data":     map[string]any{"key": "value"},
	}}
	made, err := maps.Create(ctx, object, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	if err := unstructured.SetNestedField(made.Object, "other", "data", "key"); err != nil {
		return err
	}
	if made, err = maps.Update(ctx, made, metav1.UpdateOptions{}); err != nil {
		return err
	}
	applied := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap",
		"metadata": map[string]any{"name": made.GetName()},
		"data":     map[string]any{"more": "yes"},
	}}
	got, err := maps.Apply(ctx, made.GetName(), applied, metav1.ApplyOptions{FieldManager: "dynamic"})
	if err != nil {
		return err
	}
	data, _, err := unstructured.NestedStringMap(got.Object, "data")
	return first(err,
		expect("the data", fmt.Sprint(data), "map[key:other more:yes]"),
		maps.Delete(ctx, made.GetName(), metav1.DeleteOptions{}))
}

func customResources(ctx context.Context, e *env) error {
	crds := e.dynamic.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
	group := e.namespace + ".example"
	crd := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
		"metadata": map[string]any{"name": "things." + group},
		"spec": map[string]any{
			"group": group, "scope": "Namespaced",
			"names": map[string]any{"plural": "things", "singular": "thing", "kind": "Thing", "listKind": "ThingList"},
			"versions": []any{map[string]any{
				"name": "v1", "served": true, "storage": true,
				"subresources": map[string]any{"status": map[string]any{}},
				"schema": map[string]any{"openAPIV3Schema": map[string]any{
					"type": "object",
					"properties": map[string]any{
						"spec": map[string]any{"type": "object", "properties": map[string]any{
							"size": map[string]any{"type": "integer", "minimum": int64(1), "default": int64(3)},
						}},
						"status": map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true},
					},
				}},
			}},
		},
	}}
	if _, err := crds.Create(ctx, crd, metav1.CreateOptions{}); err != nil {
		return err
	}
	things := e.dynamic.Resource(schema.GroupVersionResource{Group: group, Version: "v1", Resource: "things"}).Namespace(e.namespace)
	err := until(ctx, "the new resource", func() (bool, error) {
		_, err := things.List(ctx, metav1.ListOptions{})
		if errors.IsNotFound(err) {
			return false, nil
		}
		return err == nil, err
	})
	if err != nil {
		return err
	}
	thing := func(name string, spec map[string]any) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": group + "/v1", "kind": "Thing", "metadata": map[string]any{"name": name}, "spec": spec,
		}}
	}
	made, err := things.Create(ctx, thing("one", map[string]any{}), metav1.CreateOptions{})
	if err != nil {
		return err
	}
	size, _, _ := unstructured.NestedInt64(made.Object, "spec", "size")
	_, err = things.Create(ctx, thing("small", map[string]any{"size": int64(0)}), metav1.CreateOptions{})
	if !errors.IsInvalid(err) {
		return fmt.Errorf("too small a number answers %v", err)
	}
	return first(
		expect("the default", size, 3),
		crds.Delete(ctx, "things."+group, metav1.DeleteOptions{}))
}

func metadataClient(ctx context.Context, e *env) error {
	client, err := metadata.NewForConfig(e.config)
	if err != nil {
		return err
	}
	maps := client.Resource(mapResource).Namespace(e.namespace)
	if _, err := e.typed.CoreV1().ConfigMaps(e.namespace).Create(ctx, configMap("meta"), metav1.CreateOptions{}); err != nil {
		return err
	}
	got, err := maps.Get(ctx, "meta", metav1.GetOptions{})
	if err != nil {
		return err
	}
	list, err := maps.List(ctx, metav1.ListOptions{FieldSelector: "metadata.name=meta"})
	if err != nil {
		return err
	}
	return first(
		expect("the label", got.Labels["app"], "client"),
		expect("the length of the list", len(list.Items), 1))
}
