/** What the pack uses of ComfyUI's front end, and no more. Events carry what the server sends under their name. */

interface ComfyLink {
  origin_id: ComfyId;
  origin_slot: number;
  target_id: ComfyId;
  target_slot: number;
}

type ComfyId = number | string;

interface ComfyInput {
  name: string;
  type: string;
  link: number | null;
  widget?: { name: string };
}

interface ComfyOutput {
  name: string;
  type: string;
  links: number[] | null;
}

interface ComfyWidget {
  name: string;
  value: any;
  label?: string;
  serialize?: boolean;
  options: {
    values?: string[];
    min?: number;
    max?: number;
    precision?: number;
    getOptionLabel?: (value: string) => string;
  };
  callback?: (...values: any[]) => any;
  onRemove?: () => void;
  /** For a widget of a fixed size. */
  computeSize?: () => [number, number];
  /** For one that shares the space that is left on its node. */
  computeLayoutSize?: ((node: ComfyNode) => { minHeight: number; maxHeight?: number; minWidth: number }) | undefined;
}

interface ComfyDomWidgetOptions {
  serialize: boolean;
  hideOnZoom: boolean;
  getMinHeight: () => number;
}

/** What a node puts out for the front end: every value is a list. */
type ComfyOutputs = Record<string, any[] | undefined>;

interface ComfyNode {
  id: ComfyId;
  type: string;
  comfyClass?: string;
  title: string;
  pos: [number, number];
  size: [number, number];
  /** null: of a node that is only shown in a menu. */
  graph: ComfyGraph | null;
  subgraph?: ComfySubgraph;
  inputs: ComfyInput[];
  outputs: ComfyOutput[];
  widgets?: ComfyWidget[];
  hideOutputImages?: boolean;
  connect(slot: number, target: ComfyNode, targetSlot: number): void;
  computeSize(): [number, number];
  setSize(size: [number, number]): void;
  setDirtyCanvas(foreground: boolean, background?: boolean): void;
  addWidget(
    type: "button",
    name: string,
    value: string,
    callback: () => void,
    options: { serialize: boolean },
  ): ComfyWidget;
  addDOMWidget(name: string, type: string, element: HTMLElement, options: ComfyDomWidgetOptions): ComfyWidget;
  onDrawBackground?: () => void;
  onExecuted?: (...outputs: ComfyOutputs[]) => void;
  onRemoved?: () => void;
}

interface ComfyGraph {
  id: string;
  nodes: ComfyNode[];
  /** Of a subgraph: where links leave it. */
  outputNode?: { id: ComfyId };
  add(node: ComfyNode): void;
  getNodeById(id: ComfyId): ComfyNode | null;
  getLink(id: number | null): ComfyLink | undefined;
  beforeChange(): void;
  afterChange(): void;
  setDirtyCanvas(foreground: boolean, background: boolean): void;
}

interface ComfyRootGraph extends ComfyGraph {
  subgraphs: Map<string, ComfySubgraph>;
}

interface ComfySubgraph extends ComfyGraph {
  inputs: { linkIds: number[]; connect(slot: ComfyInput, node: ComfyNode): void }[];
  outputs: { connect(slot: ComfyOutput, node: ComfyNode): void }[];
}

interface ComfyCanvas {
  graph: ComfyGraph;
  selectedItems: Set<ComfyNode | { nodes: Iterable<ComfyNode> }>;
  deselectAll(): void;
  selectItems(nodes: ComfyNode[]): void;
  setDirty(foreground: boolean, background: boolean): void;
  processMouseWheel(event: WheelEvent): void;
}

/** A workflow as it is saved. */
interface ComfyWorkflowState {
  id?: string;
}

interface ComfyOpenWorkflow {
  activeState: ComfyWorkflowState | null;
  changeTracker?: { _restoringState: boolean; captureCanvasState?: () => void; checkState?: () => void };
}

interface ComfyWorkflowStore {
  activeWorkflow: ComfyOpenWorkflow | null;
  openWorkflows: ComfyOpenWorkflow[];
  $onAction(listener: (action: { name: string; args: any[]; after: (callback: () => void) => void }) => void): void;
}

interface ComfyExtension {
  name: string;
  commands?: { id: string; label: string; icon: string; function: () => void }[];
  menuCommands?: { path: string[]; commands: string[] }[];
  getSelectionToolboxCommands?: (item: { outputs?: ComfyOutput[] }) => string[];
  setup?: () => void;
  nodeCreated?: (node: ComfyNode) => void;
  beforeConfigureGraph?: (workflow: ComfyWorkflowState) => void | Promise<void>;
  afterConfigureGraph?: () => void;
  refreshComboInNodes?: () => void | Promise<unknown>;
  onNodeOutputsUpdated?: (outputs: Record<string, ComfyOutputs>) => void;
}

interface ComfyApp {
  rootGraph: ComfyRootGraph;
  canvas: ComfyCanvas;
  extensionManager: {
    toast: { add(message: { severity: string; summary: string; detail: string; life: number }): void };
    workflow: ComfyWorkflowStore;
  };
  registerExtension(extension: ComfyExtension): void;
}

interface ComfyApi {
  clientId: string;
  apiURL(route: string): string;
  fetchApi(route: string, options?: RequestInit): Promise<Response>;
  addEventListener(type: string, listener: (event: CustomEvent<any>) => void): void;
}

declare const LiteGraph: {
  /** Whether nodes are drawn as HTML ("Nodes 2.0") and not on the canvas. */
  vueNodesMode: boolean;
  createNode(type: string): ComfyNode;
};
