import { Page } from '../components/Page';

export default function StuckPage() {
  return <Page title="Stuck">{null}</Page>;
}
