import type { SessionEvents } from 'express-sealed-session';

import { createBrowser, type Page } from './browser.js';
import { type AppProcess, type AppSettings, type Report, startAppProcess } from './fleet-processes.js';
import { cookieHeader } from './workos-session.js';

export type { AppSettings, RedisLibrary } from './fleet-processes.js';

export interface FleetApp extends AppProcess {
  readonly reports: readonly Report[];
  count: (type: Report['type']) => number;
  events: <Name extends keyof SessionEvents>(name: Name) => SessionEvents[Name][];
  /** Gets a page with this session cookie. */
  get: (path: string, sealed: string) => Promise<Page>;
}

export interface Fleet {
  /** The running apps. */
  readonly apps: readonly FleetApp[];
  count: (type: Report['type']) => number;
  events: <Name extends keyof SessionEvents>(name: Name) => SessionEvents[Name][];
  /** Resolves as soon as the condition holds. It is checked at each report. */
  until: (condition: () => boolean) => Promise<void>;
  /** Starts one more app, with these settings in place of the common ones. */
  add: (settings?: Partial<AppSettings>) => Promise<FleetApp>;
  /** Sends this many requests at once with one cookie, to the apps in turn. Broken connections are left out. */
  storm: (sealed: string, requests: number) => Promise<Page[]>;
  stop: () => Promise<void>;
}

export async function startFleet(size: number, common: AppSettings): Promise<Fleet> {
  const apps: FleetApp[] = [];
  let watchers: { condition: () => boolean; tell: () => void }[] = [];

  function look(): void {
    const met = watchers.filter(({ condition }) => condition());
    watchers = watchers.filter((watcher) => !met.includes(watcher));
    for (const { tell } of met) tell();
  }

  function until(condition: () => boolean): Promise<void> {
    return new Promise((tell) => {
      watchers.push({ condition, tell });
      look();
    });
  }

  async function add(settings: Partial<AppSettings> = {}): Promise<FleetApp> {
    const reports: Report[] = [];
    const started = await startAppProcess({ ...common, ...settings }, (report) => {
      reports.push(report);
      look();
    });
    const app: FleetApp = {
      ...started,
      reports,
      count: (type) => reports.filter((report) => report.type === type).length,
      events: (name) =>
        reports.flatMap((report) =>
          report.type === 'event' && report.name === name ? [report.event as SessionEvents[typeof name]] : [],
        ),
      get: async (path, sealed) => {
        const page = await createBrowser(started.url).get(path, cookieHeader(sealed));
        // Reports travel by another channel, and may arrive after the response.
        await until(() => reports.length >= Number(page.headers.get('x-reported')));
        return page;
      },
    };
    apps.push(app);
    return app;
  }

  const live = () => apps.filter((app) => !app.hasEnded());

  const fleet: Fleet = {
    get apps() {
      return live();
    },
    count: (type) => live().reduce((sum, app) => sum + app.count(type), 0),
    events: (name) => live().flatMap((app) => app.events(name)),
    until,
    add,
    storm: async (sealed, requests) => {
      const targets = live();
      const sent = Array.from({ length: requests }, (_, index) => targets[index % targets.length]!.get('/', sealed));
      const settled = await Promise.allSettled(sent);
      return settled.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
    },
    stop: async () => {
      await Promise.all(apps.map((app) => app.stop()));
    },
  };

  await Promise.all(Array.from({ length: size }, () => add()));
  return fleet;
}
