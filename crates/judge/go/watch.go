package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	inform "k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/client-go/tools/pager"
	"k8s.io/client-go/util/workqueue"
)

func pages(ctx context.Context, e *env) error {
	maps := e.typed.CoreV1().ConfigMaps(e.namespace)
	for n := range 25 {
		one := configMap(fmt.Sprintf("page-%02d", n))
		one.Labels["paged"] = "yes"
		if _, err := maps.Create(ctx, one, metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	asked := 0
	lister := pager.New(func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
		asked++
		return maps.List(ctx, options)
	})
	lister.PageSize = 7
	seen := ""
	count := 0
	err := lister.EachListItem(ctx, metav1.ListOptions{LabelSelector: "paged=yes"}, func(object runtime.Object) error {
		name := object.(*corev1.ConfigMap).Name
		if name <= seen {
			return fmt.Errorf("%s comes after %s", name, seen)
		}
		seen = name
		count++
		return nil
	})
	if err != nil {
		return err
	}
	page, err := maps.List(ctx, metav1.ListOptions{LabelSelector: "paged=yes", Limit: 10})
	if err != nil {
		return err
	}
	if page.Continue == "" || len(page.Items) != 10 {
		return fmt.Errorf("a page of 10 has %d items and continues at %q", len(page.Items), page.Continue)
	}
	return first(expect("the objects", count, 25), expect("the pages", asked, 4))
}

// next is the next event that is no bookmark.
func next(ctx context.Context, events watch.Interface) (watch.Event, error) {
	for {
		select {
		case <-ctx.Done():
			return watch.Event{}, fmt.Errorf("no event came in time")
		case event, open := <-events.ResultChan():
			if !open {
				return event, fmt.Errorf("the watch ended")
			}
			if event.Type != watch.Bookmark {
				return event, nil
			}
		}
	}
}

func plainWatch(ctx context.Context, e *env) error {
	maps := e.typed.CoreV1().ConfigMaps(e.namespace)
	list, err := maps.List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	events, err := maps.Watch(ctx, metav1.ListOptions{
		ResourceVersion: list.ResourceVersion, LabelSelector: "watched", AllowWatchBookmarks: true,
	})
	if err != nil {
		return err
	}
	defer events.Stop()
	one := configMap("watched")
	one.Labels["watched"] = "yes"
	if one, err = maps.Create(ctx, one, metav1.CreateOptions{}); err != nil {
		return err
	}
	one.Data["key"] = "changed"
	if one, err = maps.Update(ctx, one, metav1.UpdateOptions{}); err != nil {
		return err
	}
	// What no longer is selected has gone, for who watches.
	one.Labels = nil
	if one, err = maps.Update(ctx, one, metav1.UpdateOptions{}); err != nil {
		return err
	}
	for _, wanted := range []watch.EventType{watch.Added, watch.Modified, watch.Deleted} {
		event, err := next(ctx, events)
		if err != nil {
			return err
		}
		if err := first(
			expect("the event", event.Type, wanted),
			expect("its object", event.Object.(*corev1.ConfigMap).Name, "watched")); err != nil {
			return err
		}
	}
	return nil
}

func watchList(ctx context.Context, e *env) error {
	send := true
	events, err := e.typed.CoreV1().ConfigMaps(e.namespace).Watch(ctx, metav1.ListOptions{
		SendInitialEvents: &send, AllowWatchBookmarks: true, LabelSelector: "paged=yes",
		ResourceVersionMatch: metav1.ResourceVersionMatchNotOlderThan,
	})
	if err != nil {
		return err
	}
	defer events.Stop()
	count := 0
	for {
		select {
		case <-ctx.Done():
			return fmt.Errorf("no bookmark came in time")
		case event, open := <-events.ResultChan():
			if !open {
				return fmt.Errorf("the watch ended")
			}
			if event.Type == watch.Added {
				count++
				continue
			}
			bookmark, ok := event.Object.(*corev1.ConfigMap)
			if !ok || event.Type != watch.Bookmark {
				return fmt.Errorf("after the objects comes %v", event)
			}
			return first(
				expect("the objects", count, 25),
				expect("the annotation", bookmark.Annotations[metav1.InitialEventsAnnotationKey], "true"))
		}
	}
}

func expiredVersion(ctx context.Context, e *env) error {
	maps := e.typed.CoreV1().ConfigMaps(e.namespace)
	future := metav1.ListOptions{ResourceVersion: "9000000000", ResourceVersionMatch: metav1.ResourceVersionMatchExact}
	if _, err := maps.List(ctx, future); err == nil {
		return fmt.Errorf("a list at a version that has not come is answered")
	}
	_, err := maps.List(ctx, metav1.ListOptions{Limit: 1, Continue: "garbage"})
	if !errors.IsBadRequest(err) {
		return fmt.Errorf("a garbled token to continue answers %v", err)
	}
	return nil
}

func informers(ctx context.Context, e *env) error {
	factory := inform.NewSharedInformerFactoryWithOptions(e.typed, time.Minute, inform.WithNamespace(e.namespace))
	maps := factory.Core().V1().ConfigMaps()
	services := factory.Core().V1().Services()
	leases := factory.Coordination().V1().Leases()
	roles := inform.NewSharedInformerFactory(e.typed, 0)
	clusterRoles := roles.Rbac().V1().ClusterRoles()
	var added, updated, deleted atomic.Int64
	_, err := maps.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { added.Add(1) },
		UpdateFunc: func(any, any) { updated.Add(1) },
		DeleteFunc: func(any) { deleted.Add(1) },
	})
	if err != nil {
		return err
	}
	synced := []cache.InformerSynced{
		maps.Informer().HasSynced, services.Informer().HasSynced, leases.Informer().HasSynced, clusterRoles.Informer().HasSynced,
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	factory.Start(ctx.Done())
	roles.Start(ctx.Done())
	defer factory.Shutdown()
	defer roles.Shutdown()
	defer cancel()
	if !cache.WaitForCacheSync(ctx.Done(), synced...) {
		return fmt.Errorf("the caches do not fill")
	}
	if _, err := clusterRoles.Lister().Get("cluster-admin"); err != nil {
		return err
	}
	client := e.typed.CoreV1().ConfigMaps(e.namespace)
	before := added.Load()
	made, err := client.Create(ctx, configMap("informed"), metav1.CreateOptions{})
	if err != nil {
		return err
	}
	made.Data["key"] = "two"
	if _, err := client.Update(ctx, made, metav1.UpdateOptions{}); err != nil {
		return err
	}
	err = until(ctx, "the change in the cache", func() (bool, error) {
		cached, err := maps.Lister().ConfigMaps(e.namespace).Get("informed")
		return err == nil && cached.Data["key"] == "two", nil
	})
	if err != nil {
		return err
	}
	if err := client.Delete(ctx, "informed", metav1.DeleteOptions{}); err != nil {
		return err
	}
	return until(ctx, "every event", func() (bool, error) {
		return added.Load() > before && updated.Load() > 0 && deleted.Load() > 0, nil
	})
}

// workQueue is a controller in small: what is marked gets an answer, once it has been asked for again after an error.
func workQueue(ctx context.Context, e *env) error {
	queue := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[string]())
	factory := inform.NewSharedInformerFactoryWithOptions(e.typed, 0, inform.WithNamespace(e.namespace),
		inform.WithTweakListOptions(func(options *metav1.ListOptions) { options.LabelSelector = "work" }))
	maps := factory.Core().V1().ConfigMaps()
	enqueue := func(object any) {
		if key, err := cache.MetaNamespaceKeyFunc(object); err == nil {
			queue.Add(key)
		}
	}
	_, err := maps.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    enqueue,
		UpdateFunc: func(_, object any) { enqueue(object) },
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	factory.Start(ctx.Done())
	if !cache.WaitForCacheSync(ctx.Done(), maps.Informer().HasSynced) {
		return fmt.Errorf("the cache does not fill")
	}
	client := e.typed.CoreV1().ConfigMaps(e.namespace)
	go func() {
		for {
			key, shutdown := queue.Get()
			if shutdown {
				return
			}
			_, name, _ := cache.SplitMetaNamespaceKey(key)
			cached, err := maps.Lister().ConfigMaps(e.namespace).Get(name)
			if err == nil && cached.Data["answer"] == "" {
				copied := cached.DeepCopy()
				copied.Data["answer"] = "42"
				_, err = client.Update(ctx, copied, metav1.UpdateOptions{})
			}
			if err != nil {
				queue.AddRateLimited(key)
			} else {
				queue.Forget(key)
			}
			queue.Done(key)
		}
	}()
	defer queue.ShutDown()
	for n := range 10 {
		one := configMap(fmt.Sprintf("work-%d", n))
		one.Labels["work"] = "yes"
		if _, err := client.Create(ctx, one, metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	return until(ctx, "all answers", func() (bool, error) {
		list, err := client.List(ctx, metav1.ListOptions{LabelSelector: "work"})
		if err != nil {
			return false, err
		}
		for _, one := range list.Items {
			if one.Data["answer"] != "42" {
				return false, nil
			}
		}
		return len(list.Items) == 10, nil
	})
}

func candidate(e *env, name string, leads chan<- string) leaderelection.LeaderElectionConfig {
	return leaderelection.LeaderElectionConfig{
		Lock: &resourcelock.LeaseLock{
			LeaseMeta:  metav1.ObjectMeta{Name: "election", Namespace: e.namespace},
			Client:     e.typed.CoordinationV1(),
			LockConfig: resourcelock.ResourceLockConfig{Identity: name},
		},
		LeaseDuration: 30 * time.Second, RenewDeadline: 20 * time.Second, RetryPeriod: 200 * time.Millisecond,
		ReleaseOnCancel: true,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(ctx context.Context) { leads <- name; <-ctx.Done() },
			OnStoppedLeading: func() {},
		},
	}
}

func leaderElection(ctx context.Context, e *env) error {
	leads := make(chan string, 2)
	one, resign := context.WithCancel(ctx)
	defer resign()
	go leaderelection.RunOrDie(one, candidate(e, "one", leads))
	select {
	case <-ctx.Done():
		return fmt.Errorf("nobody leads")
	case who := <-leads:
		if who != "one" {
			return fmt.Errorf("%s leads, not one", who)
		}
	}
	two, stop := context.WithCancel(ctx)
	defer stop()
	go leaderelection.RunOrDie(two, candidate(e, "two", leads))
	select {
	case who := <-leads:
		return fmt.Errorf("%s leads too", who)
	case <-time.After(time.Second):
	}
	resign()
	select {
	case <-ctx.Done():
		return fmt.Errorf("nobody follows the leader")
	case who := <-leads:
		if who != "two" {
			return fmt.Errorf("%s leads, not two", who)
		}
	}
	var lease *coordinationv1.Lease
	lease, err := e.typed.CoordinationV1().Leases(e.namespace).Get(ctx, "election", metav1.GetOptions{})
	if err != nil {
		return err
	}
	return first(
		expect("the holder", *lease.Spec.HolderIdentity, "two"),
		expect("the transitions", *lease.Spec.LeaseTransitions, 1))
}
