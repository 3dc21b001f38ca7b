// What a dashboard of ours may be: Grafana's published types, made stricter.
// The Rust test writes each dashboard as a literal of type `Dashboard` beside this file, so that
// a misspelt key, an unknown enumeration value or an option of another panel type is an error.
import type * as grafana from '@grafana/schema';
import type * as bargauge from '@grafana/schema/dist/esm/raw/composable/bargauge/panelcfg/x/BarGaugePanelCfg_types.gen';
import type * as heatmap from '@grafana/schema/dist/esm/raw/composable/heatmap/panelcfg/x/HeatmapPanelCfg_types.gen';
import type * as stat from '@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen';
import type * as timeline from '@grafana/schema/dist/esm/raw/composable/statetimeline/panelcfg/x/StateTimelinePanelCfg_types.gen';
import type * as table from '@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen';
import type * as timeseries from '@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';

/** A type as JSON has it: enumerations are their values. */
type Json<T> = T extends string
  ? `${T}`
  : T extends number
    ? `${number}` extends `${T}` ? number : `${T}` extends `${infer N extends number}` ? N : never
    : T extends object ? { [K in keyof T]: Json<T[K]> } : T;

interface DataSource {
  type: 'prometheus';
  uid: '${datasource}';
}

interface Query {
  refId: string;
  datasource: DataSource;
  editorMode: 'code';
  expr: string;
  instant: boolean;
  range: boolean;
  format: 'time_series' | 'table' | 'heatmap';
  legendFormat?: string;
  interval?: string;
}

interface Link {
  title: string;
  url: string;
  targetBlank: boolean;
}

type Defaults<Custom> = Omit<Json<grafana.FieldConfig>, 'custom' | 'links'> & {
  custom?: Partial<Json<Custom>>;
  links?: Link[];
};

type Property =
  | { [Id in keyof Defaults<unknown>]-?: { id: Id; value: NonNullable<Defaults<unknown>[Id]> } }[Exclude<keyof Defaults<unknown>, 'custom'>]
  | { [Id in Custom]: { id: `custom.${Id}`; value: NonNullable<AnyCustom[Id]> } }[Custom];
type AnyCustom = Json<table.FieldConfig & timeseries.FieldConfig>;
type Custom = Exclude<keyof AnyCustom, symbol | number>;

interface PanelOf<Type, Options, FieldCustom> {
  id: number;
  type: Type;
  title: string;
  description: string;
  gridPos: { x: number; y: number; w: number; h: number };
  datasource: DataSource;
  pluginVersion: string;
  maxDataPoints?: number;
  transformations?: Json<grafana.DataTransformerConfig>[];
  targets: Query[];
  options: Json<Options>;
  fieldConfig: {
    defaults: Defaults<FieldCustom>;
    overrides: { matcher: { id: 'byName' | 'byRegexp'; options: string }; properties: Property[] }[];
  };
}

type Panel =
  | PanelOf<'stat', stat.Options, never>
  | PanelOf<'bargauge', bargauge.Options, never>
  | PanelOf<'table', table.Options, table.FieldConfig>
  | PanelOf<'timeseries', timeseries.Options, timeseries.FieldConfig>
  | PanelOf<'state-timeline', timeline.Options, timeline.FieldConfig>
  | PanelOf<'heatmap', heatmap.Options, heatmap.FieldConfig>;

interface Row {
  id: number;
  type: 'row';
  title: string;
  gridPos: { x: 0; y: number; w: 24; h: 1 };
  collapsed: boolean;
  panels: Panel[];
}

interface Annotation extends Omit<Json<grafana.AnnotationQuery>, 'target'> {
  // Of the Prometheus data source; Grafana's own type has only the form of newer servers.
  expr?: string;
  titleFormat?: string;
  textFormat?: string;
}

export interface Dashboard extends Omit<Json<grafana.Dashboard>, 'panels' | 'annotations'> {
  annotations: { list: Annotation[] };
  panels: (Panel | Row)[];
}
