# Expands source.json to the Grafana dashboard with the uid $uid. scripts/write_dashboards.sh calls it.
#
# In a query, SEL stands for the labels that the variables select, and RATE for the window of a rate.

def datasource: {type: "prometheus", uid: "${datasource}"};

def expand: gsub("SEL"; "region=~\"$region\",instance=~\"$instance\"") | gsub("REGION"; "region=~\"$region\"")
  | gsub("RATE"; "$__rate_interval");

def query_variable($name; $text; $query): {
  name: $name, label: $text, type: "query", datasource: datasource,
  query: {query: $query, refId: $name},
  includeAll: true, multi: true, refresh: 2, sort: 1, allValue: ".*",
  current: {selected: true, text: ["All"], value: ["$__all"]}, hide: 0, options: [], regex: "", skipUrlSync: false
};

def variables: [
  {name: "datasource", label: "Data source", type: "datasource", query: "prometheus", hide: 0, includeAll: false,
    multi: false, options: [], refresh: 1, regex: "", skipUrlSync: false, current: {}},
  query_variable("region"; "Region"; "label_values(voketag_build_info, region)"),
  query_variable("instance"; "Instance"; "label_values(voketag_build_info{region=~\"$region\"}, instance)")
];

def annotation($name; $colour; $query; $title): {
  name: $name, datasource: datasource, enable: true, hide: false, iconColor: $colour, expr: ($query | expand),
  titleFormat: $title, step: "15s", useValueForTime: false
};

def annotations: [
  annotation("Starts and deployments"; "blue";
    "voketag_build_info{SEL} * on (job, instance) group_left () process_start_time_seconds{SEL} * 1000";
    "{{service}} {{version}} started") + {useValueForTime: true},
  annotation("Revocations and recalls"; "orange";
    "sum by (route) (increase(voketag_http_requests_total{route=~\".*/(revoke|recall)\",status=~\"2..\",REGION}[1m])) > 0";
    "{{route}}"),
  annotation("Failovers and outages of Redis"; "red";
    "sum by (pool) (increase(voketag_circuit_breaker_transitions_total{to=\"open\",SEL}[1m])) > 0";
    "the circuit breaker of {{pool}} opened")
];

def thresholds($steps): {
  mode: "absolute",
  steps: ([{color: "green", value: null}] + [$steps[] | {color: .[0], value: .[1]}])
};

def options: {
  timeseries: {legend: {displayMode: "list", placement: "bottom", showLegend: true, calcs: []},
    tooltip: {mode: "multi", sort: "desc"}},
  stat: {reduceOptions: {calcs: ["lastNotNull"], fields: "", values: false}, colorMode: "background",
    graphMode: "area", textMode: "auto", justifyMode: "auto", orientation: "auto"},
  heatmap: {calculate: false, cellGap: 1, yAxis: {unit: "s"}, color: {mode: "scheme", scheme: "Oranges", steps: 64},
    legend: {show: true}, tooltip: {show: true, yHistogram: false}},
  "state-timeline": {showValue: "auto", mergeValues: true, rowHeight: 0.8,
    legend: {displayMode: "list", placement: "bottom", showLegend: true}, tooltip: {mode: "single", sort: "none"}}
};

def custom($type): if $type == "timeseries" then {drawStyle: "line", lineWidth: 1, fillOpacity: 8, spanNulls: false}
  else {} end;

def targets($type): to_entries | map({
  refId: ([65 + .key] | implode), datasource: datasource, expr: (.value[0] | expand),
  legendFormat: .value[1], range: true, editorMode: "code",
  format: (if $type == "heatmap" then "heatmap" else "time_series" end)
});

# Places the panels of a section in rows of 24 columns below $top.
def place($top): reduce .[] as $panel ({x: 0, y: $top, height: 0, panels: []};
  ($panel.w // 8) as $w | ($panel.h // 8) as $h
  | (if .x + $w > 24 then .x = 0 | .y += .height | .height = 0 else . end)
  | .panels += [$panel + {gridPos: {x: .x, y: .y, w: $w, h: $h}}]
  | .x += $w | .height = ([.height, $h] | max));

def panel: (.type // "timeseries") as $type | {
  type: $type, title: .title, description: .description, datasource: datasource, gridPos: .gridPos, id: .id,
  targets: (.queries | targets($type)), options: options[$type],
  fieldConfig: {
    defaults: ({unit: (.unit // "short"), thresholds: thresholds(.thresholds // []), custom: custom($type),
      mappings: [(.states // {}) | select(length > 0) | {type: "value", options: (with_entries(.value = {text: .value}))}]}
      + (if .least != null then {min: .least} else {} end)),
    overrides: []
  },
  links: [(.runbook // empty) | {title: "Runbook", url: ("https://docs.example.com/operations/" + .), targetBlank: true}]
};

def panels: reduce .sections[] as $section ({y: 0, id: 1, out: []};
  . as $so_far
  | .out += [{type: "row", title: $section.title, collapsed: false, panels: [], id: .id,
      gridPos: {x: 0, y: .y, w: 24, h: 1}}]
  | ($section.panels | place($so_far.y + 1)) as $placed
  | ([$placed.panels | to_entries[] | .value + {id: ($so_far.id + 1 + .key)} | panel]) as $drawn
  | .out += $drawn | .y = ($placed.y + $placed.height) | .id += 1 + ($drawn | length)) | .out;

.[] | select(.uid == $uid) | {
  uid: .uid, title: .title, description: .description, tags: ["voketag"], timezone: "browser", editable: true,
  schemaVersion: 39, version: 1, refresh: "30s", time: {from: "now-1h", to: "now"}, graphTooltip: 1,
  links: [{type: "dashboards", title: "VokeTag", tags: ["voketag"], asDropdown: true, includeVars: true,
    keepTime: true, icon: "external link", targetBlank: false, tooltip: "", url: ""}],
  templating: {list: variables}, annotations: {list: annotations}, panels: panels
}
